// What numbers instead of spikes bring to a layer in which each neuron hears all of them: counts times weights.
//
// Two counts and two weights of 16 bits are multiplied at a time. A panel of weights, `Panel` neurons wide, stays in
// the cache while it meets one group of samples after the other, whose sums are held in registers.
#include "lanes.h"
#include "threads.h"

namespace ffi = xla::ffi;

namespace {

constexpr int Vectors = 4, Panel = Vectors * lanes::Words;
constexpr int Group = lanes::Bytes == 64 ? 6 : 2;  // samples at a time: their sums fill the registers
constexpr int Share = 4 * Group;                   // samples that one thread takes together

// The sums of S samples: counts [sample, pair, 2], weights [pair, lane, 2], to [sample, lanes_all].
template <int S>
void panel(const int16_t* counts, const int16_t* weights, int pairs, size_t lanes_all, int32_t* to) {
  lanes::Word sum[S][Vectors] = {};
  for (int pair = 0; pair < pairs; pair++, weights += 2 * Panel)
    for (int s = 0; s < S; s++) {
      int32_t two;
      memcpy(&two, counts + 2 * (size_t(s) * pairs + pair), 4);
      const lanes::Half x = (lanes::Half)lanes::splat<lanes::Word>(two);
      for (int i = 0; i < Vectors; i++)
        lanes::add_products(sum[s][i], x, lanes::load<lanes::Half>(weights + i * lanes::Halves));
    }
  for (int s = 0; s < S; s++)
    for (int i = 0; i < Vectors; i++) lanes::store(to + s * lanes_all + i * lanes::Words, sum[s][i]);
}

ffi::Error multiply(ffi::ThreadPool threads, ffi::Buffer<ffi::S16> counts, ffi::Buffer<ffi::S16> weights,
                    ffi::Result<ffi::Buffer<ffi::S32>> out) {
  auto c = counts.dimensions();   // [sample, count]
  auto w = weights.dimensions();  // [panel, pair, lane in panel, 2]
  auto o = out->dimensions();     // [sample, position, lane]
  if (w[2] != Panel || w[3] != 2 || c[1] != 2 * w[1] || o[0] != c[0] || o[1] * o[2] != w[0] * Panel)
    return ffi::Error::InvalidArgument("product: counts and panels of weights do not fit together");
  const int samples = int(c[0]), pairs = int(w[1]);
  const size_t lanes_all = w[0] * Panel;
  share(threads, (samples + Share - 1) / Share, [&](int job) {
    const int end = std::min(samples, (job + 1) * Share);
    for (int p = 0; p < int(w[0]); p++)
      for (int s = job * Share; s < end;) {
        const int16_t* x = counts.typed_data() + s * c[1];
        const int16_t* own = weights.typed_data() + size_t(p) * pairs * Panel * 2;
        int32_t* to = out->typed_data() + s * lanes_all + p * Panel;
        if (s + Group <= end)
          panel<Group>(x, own, pairs, lanes_all, to), s += Group;
        else
          panel<1>(x, own, pairs, lanes_all, to), s++;
      }
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(product, multiply,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::S16>>()
                                  .Arg<ffi::Buffer<ffi::S16>>()
                                  .Ret<ffi::Buffer<ffi::S32>>());
