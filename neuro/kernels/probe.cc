// How fast this core reads and adds: the bound that event-driven kernels are held against.
#include "lanes.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// Adds all of `from` as 16-bit numbers, `times` times over.
static ffi::Error read_and_add(ffi::Buffer<ffi::S16> from, ffi::Result<ffi::Buffer<ffi::S16>> sum, int32_t times) {
  const int16_t* data = from.typed_data();
  const size_t vectors = from.element_count() / (8 * lanes::Halves);
  lanes::Half total[8] = {};
  for (int k = 0; k < times; k++)
    for (size_t i = 0; i < vectors; i++)
      for (int j = 0; j < 8; j++) {
        total[j] += lanes::load<lanes::Half>(data + (i * 8 + j) * lanes::Halves);
        asm volatile("" : "+m"(*const_cast<int16_t*>(data)));  // repetitions are not folded into one
      }
  for (int j = 1; j < 8; j++) total[0] += total[j];
  memcpy(sum->typed_data(), &total[0], 16);
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(probe_read, read_and_add,
                              ffi::Ffi::Bind().Arg<ffi::Buffer<ffi::S16>>().Ret<ffi::Buffer<ffi::S16>>().Attr<int32_t>(
                                  "times"));
