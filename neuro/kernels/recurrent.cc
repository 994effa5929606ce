// XLA's door to `recurrent`: checks what it is given and runs one sample after the other on every thread.
#include "recurrent.h"

#include "threads.h"

namespace ffi = xla::ffi;

namespace {

using Bytes = ffi::Buffer<ffi::U8>;
using Integers = ffi::Buffer<ffi::S32>;

// Tiny numbers are kept in float64, as NumPy keeps them, and are zero in float32, where they would only cost time.
class Tiny {
#if defined(__SSE2__)
  unsigned before = __builtin_ia32_stmxcsr();

 public:
  explicit Tiny(bool flush) { __builtin_ia32_ldmxcsr(flush ? before | 0x8040 : before & ~0x8040u); }
  ~Tiny() { __builtin_ia32_ldmxcsr(before); }
#else
 public:
  explicit Tiny(bool) {}
#endif
};

template <class T>
ffi::Error run(ffi::ThreadPool& pool, Integers populations, Integers parameters, Bytes numbers, Integers refractory,
               Integers rows, Bytes places, Bytes weights, Bytes entering, Bytes before, Integers step,
               Bytes& spikes, Integers& updated, Bytes& after, int slots, int block, int wait, bool merged, bool near,
               int weight, bool wide) {
  recurrent::Network<T> net;
  net.populations = reinterpret_cast<const recurrent::Population*>(populations.typed_data());
  net.count = int(populations.dimensions()[0]);
  net.parameters = reinterpret_cast<const recurrent::Parameter*>(parameters.typed_data());
  net.numbers = reinterpret_cast<const T*>(numbers.typed_data());
  net.refractory = refractory.typed_data();
  net.rows = rows.typed_data();
  net.slots = slots;
  net.block = block;
  net.wait = wait;
  net.merged = merged;
  net.words = 0;
  net.slot = 0;
  for (int k = 0; k < net.count; k++) {
    net.words += net.populations[k].words;
    net.slot += size_t(net.populations[k].words) * recurrent::Word * net.populations[k].receptors;
  }
  auto e = entering.dimensions();  // [sample, step, byte]
  const int steps = int(e[1]);
  net.input_words = int(e[2] / 8);
  const size_t all = size_t(net.words + net.input_words) * recurrent::Word;
  net.near = near;
  net.wide = wide;
  net.weight = recurrent::Weight(weight);
  net.places = places.typed_data();
  net.weights = weights.typed_data();
  const bool of_row = net.weight == recurrent::Weight::OfRow;
  const size_t synapses = rows.element_count() == all + 1 ? rows.typed_data()[all] : 0;
  if (rows.element_count() != all + 1 || refractory.element_count() != size_t(net.words) * recurrent::Word ||
      places.element_count() != synapses * net.place_bytes() ||
      weights.element_count() != (of_row ? all * net.one_weight() : synapses * net.weight_bytes()) ||
      (of_row && wide) || block > slots || block > recurrent::Block ||
      slots * net.slot / net.width() >= size_t(1) << (near ? 16 : 31) ||
      spikes.dimensions()[2] != net.words * 8 || step.element_count() != 1 ||
      before.element_count() != size_t(e[0]) * recurrent::State<T>::bytes(net))
    return ffi::Error::InvalidArgument("recurrent: tables do not fit together");
  const int origin = step.typed_data()[0];
  if (origin < 0 || origin % block) return ffi::Error::InvalidArgument("recurrent: it goes on after whole blocks only");
  const size_t bytes = recurrent::State<T>::bytes(net);
  if (before.typed_data() != after.typed_data()) memcpy(after.typed_data(), before.typed_data(), bytes * e[0]);
  share(pool, int(e[0]), [&](int s) {
    const Tiny tiny(std::is_same_v<T, float>);
    recurrent::Run<T> sample(net, after.typed_data() + s * bytes, origin);
    sample(steps, entering.typed_data() + size_t(s) * steps * e[2],
           spikes.typed_data() + size_t(s) * steps * net.words * 8,
           updated.typed_data() + size_t(s) * steps * net.count);
  });
  return ffi::Error::Success();
}

// Numbers and synapses come as bytes: float64 is then no matter of XLA's settings.
ffi::Error recurrent_of_kind(ffi::ThreadPool pool, Integers populations, Integers parameters, Bytes numbers,
                             Integers refractory, Integers rows, Bytes places, Bytes weights, Bytes entering,
                             Bytes before, Integers step, ffi::Result<Bytes> spikes, ffi::Result<Integers> updated,
                             ffi::Result<Bytes> after, int32_t kind, int32_t slots, int32_t block, int32_t wait,
                             int32_t merged, int32_t near, int32_t weight, int32_t wide) {
  auto with = [&](auto of) {
    return run<decltype(of)>(pool, populations, parameters, numbers, refractory, rows, places, weights, entering,
                             before, step, *spikes, *updated, *after, slots, block, wait, merged, near, weight,
                             wide);
  };
  if (kind == 0) return with(int32_t());
  return kind == 1 ? with(float()) : with(double());
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(recurrent_run, recurrent_of_kind,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Integers>()
                                  .Arg<Integers>()
                                  .Arg<Bytes>()
                                  .Arg<Integers>()
                                  .Arg<Integers>()
                                  .Arg<Bytes>()
                                  .Arg<Bytes>()
                                  .Arg<Bytes>()
                                  .Arg<Bytes>()
                                  .Arg<Integers>()
                                  .Ret<Bytes>()
                                  .Ret<Integers>()
                                  .Ret<Bytes>()
                                  .Attr<int32_t>("kind")
                                  .Attr<int32_t>("slots")
                                  .Attr<int32_t>("block")
                                  .Attr<int32_t>("wait")
                                  .Attr<int32_t>("merged")
                                  .Attr<int32_t>("near")
                                  .Attr<int32_t>("weight")
                                  .Attr<int32_t>("wide"));
