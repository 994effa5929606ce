// What numbers instead of spikes bring to a layer in which each neuron hears all of them: counts times weights.
//
// Two counts and two weights of 16 bits are multiplied at a time, or four of 8. A panel of weights, `Panel` neurons
// wide, stays in the cache while it meets one group of samples after the other, whose sums are held in registers.
#include "lanes.h"
#include "threads.h"

namespace ffi = xla::ffi;

namespace {

constexpr int Vectors = 4, Panel = Vectors * lanes::Words;
constexpr int Group = lanes::Bytes == 64 ? 6 : 2;  // samples at a time: their sums fill the registers
constexpr int Share = 4 * Group;                   // samples that one thread takes together

template <class T>
struct Types;
template <>
struct Types<int8_t> {
  static constexpr ffi::DataType number = ffi::S8;
  using Vector = lanes::Quarter;
};
template <>
struct Types<int16_t> {
  static constexpr ffi::DataType number = ffi::S16;
  using Vector = lanes::Half;
};

// The sums of S samples: counts [sample, word, Each], weights [word, lane, Each], to [sample, lanes_all].
template <class T, int S>
void panel(const T* counts, const T* weights, int words, size_t lanes_all, int32_t* to) {
  using Vector = typename Types<T>::Vector;
  constexpr int Each = 4 / sizeof(T);
  lanes::Word sum[S][Vectors] = {};
  for (int word = 0; word < words; word++, weights += Each * Panel)
    for (int s = 0; s < S; s++) {
      const Vector x = (Vector)lanes::splat<lanes::Word>(
          lanes::load<int32_t>(counts + Each * (size_t(s) * words + word)));
      for (int i = 0; i < Vectors; i++)
        lanes::add_products(sum[s][i], x, lanes::load<Vector>(weights + i * Each * lanes::Words));
    }
  for (int s = 0; s < S; s++)
    for (int i = 0; i < Vectors; i++) lanes::store(to + s * lanes_all + i * lanes::Words, sum[s][i]);
}

template <class T>
ffi::Error multiply(ffi::ThreadPool threads, ffi::Buffer<Types<T>::number> counts, ffi::Buffer<Types<T>::number> weights,
                    ffi::Result<ffi::Buffer<ffi::S32>> out) {
  constexpr int Each = 4 / sizeof(T);
  auto c = counts.dimensions();   // [sample, count]
  auto w = weights.dimensions();  // [panel, word, lane in panel, Each]
  auto o = out->dimensions();     // [sample, position, lane]
  if (w[2] != Panel || w[3] != Each || c[1] != Each * w[1] || o[0] != c[0] || o[1] * o[2] != w[0] * Panel)
    return ffi::Error::InvalidArgument("product: counts and panels of weights do not fit together");
  const int samples = int(c[0]), words = int(w[1]);
  const size_t lanes_all = w[0] * Panel;
  share(threads, (samples + Share - 1) / Share, [&](int job) {
    const int end = std::min(samples, (job + 1) * Share);
    for (int p = 0; p < int(w[0]); p++)
      for (int s = job * Share; s < end;) {
        const T* x = counts.typed_data() + s * c[1];
        const T* own = weights.typed_data() + size_t(p) * words * Panel * Each;
        int32_t* to = out->typed_data() + s * lanes_all + p * Panel;
        if (s + Group <= end)
          panel<T, Group>(x, own, words, lanes_all, to), s += Group;
        else
          panel<T, 1>(x, own, words, lanes_all, to), s++;
      }
  });
  return ffi::Error::Success();
}

}  // namespace

#define PRODUCT(NAME, T)                                            \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, multiply<T>,                  \
                                ffi::Ffi::Bind()                    \
                                    .Ctx<ffi::ThreadPool>()         \
                                    .Arg<ffi::Buffer<Types<T>::number>>() \
                                    .Arg<ffi::Buffer<Types<T>::number>>() \
                                    .Ret<ffi::Buffer<ffi::S32>>())

PRODUCT(product_int8, int8_t);
PRODUCT(product_int16, int16_t);
