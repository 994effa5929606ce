// XLA's door to `fire`: checks what it is given, cuts samples into tiles, and takes the cheaper way for each.
#include <atomic>

#include "lists.h"
#include "lookup.h"
#include "matrix.h"
#include "threads.h"

namespace ffi = xla::ffi;

namespace {

template <class W>
struct Types;
template <>
struct Types<int8_t> {
  static constexpr ffi::DataType weight = ffi::S8, number = ffi::S32;
};
template <>
struct Types<int16_t> {
  static constexpr ffi::DataType weight = ffi::S16, number = ffi::S32;
};
template <>
struct Types<float> {
  static constexpr ffi::DataType weight = ffi::F32, number = ffi::F32;
};

constexpr int Rows = 8192;  // (row, step) lists of a tile, unless one sample has more

template <class W>
void by_events(const fire::Layer<W>& layer, int begin, int end, const fire::Lists& lists) {
  constexpr int Width = lanes::Bytes / (std::is_same_v<W, float> ? 4 : 2);
  switch (layer.lanes_block / Width) {
    case 1: return fire::by_events<W, 1>(layer, begin, end, lists);
    case 2: return fire::by_events<W, 2>(layer, begin, end, lists);
    case 4: return fire::by_events<W, 4>(layer, begin, end, lists);
    case 8: return fire::by_events<W, 8>(layer, begin, end, lists);
  }
}

#if FIRE_MATRIX
using Shared = fire::matrix::Shared;
#else
struct Shared {
  void forget() {}
};
#endif

template <class W>
struct Scratch {
  fire::Lists lists;
  std::vector<uint8_t> bits;
#if FIRE_MATRIX
  fire::matrix::Scratch<W> matrix;
#endif
};

enum Way { Events, Lookup, Matrix };

// Densities of spikes above which tables beat lists, and matrix units both.
struct Crossover {
  float lookup, matrix;
};

// Not inlined: where the compiler knows that the scratch is a thread's own, it asks for its address again and again.
template <class W>
__attribute__((noinline)) Way tile(const fire::Layer<W>& layer, int begin, int end, bool may_look_up,
                                   Crossover crossover, Shared& shared, Scratch<W>& scratch) {
  if (layer.lanes_all < layer.out_bytes * 8) {  // no block reaches the last bytes
    const size_t each = size_t(layer.targets) * layer.out_steps * layer.out_bytes;
    memset(layer.out + begin * each, 0, (end - begin) * each);
  }
  fire::Lists& lists = scratch.lists;
  fire::count(layer, begin, end, lists);
  const double slots = double(end - begin) * layer.targets * layer.steps * layer.rows;
#if FIRE_MATRIX
  const double used = double(layer.steps) / fire::matrix::whole(layer.steps, fire::matrix::Steps);  // of tiles
  if (double(lists.events) * used > crossover.matrix * slots && fire::matrix_units()) {
    fire::by_matrix(layer, begin, end, shared, scratch.matrix);
    return Matrix;
  }
#endif
  if (!may_look_up || double(lists.events) <= crossover.lookup * slots) {
    fire::gather(layer, begin, end, lists);
    by_events(layer, begin, end, lists);
    return Events;
  }
  const int bytes = layer.rows / 8 + 8, band = std::max(1, fire::Tile / layer.steps);
  std::vector<uint8_t>& bits = scratch.bits;
  bits.resize(size_t(std::min(band, layer.targets)) * layer.steps * bytes);
  for (int s = begin; s < end; s++)
    for (int first = 0; first < layer.targets; first += band) {
      const int last = std::min(first + band, layer.targets);
      fire::bit_rows(layer, s, first, last, bytes, bits.data());
      fire::by_lookup(layer, s, first, last, bytes, bits.data());
    }
  return Lookup;
}

template <class W>
ffi::Error run(ffi::ThreadPool pool, ffi::Buffer<ffi::S32> heard_from, ffi::Buffer<ffi::S32> heard,
               ffi::Buffer<ffi::S32> points_to, ffi::Buffer<ffi::S32> points, ffi::Buffer<Types<W>::weight> point_weights,
               ffi::Buffer<Types<W>::weight> weights, ffi::Buffer<Types<W>::number> neurons, ffi::RemainingArgs rest,
               ffi::Result<ffi::Buffer<ffi::U8>> out, ffi::Result<ffi::Buffer<Types<W>::number>> membrane,
               ffi::Result<ffi::Buffer<Types<W>::number>> peak, ffi::Result<ffi::Buffer<ffi::S32>> ways,
               int32_t mode, int32_t steps, int32_t levels, int32_t chunk, int32_t biased, int32_t watched, double limit,
               int32_t may_look_up, float lookup, float matrix) {
  using Number = typename fire::Kind<W>::Number;
  fire::Layer<W> layer;
  size_t positions = 0;
  for (size_t i = 0; i < rest.size(); i++) {
    auto source = rest.get<ffi::Buffer<ffi::U8>>(i);
    if (!source.has_value()) return source.error();
    auto d = source->dimensions();  // [sample, position, step, byte]
    if (d.size() != 4 || d[3] % 8 || d[2] > steps) return ffi::Error::InvalidArgument("fire: a source of wrong shape");
    layer.sources.push_back({source->typed_data(), int(d[1]), int(d[2]), int(d[3]), int(steps - d[2])});
    positions += d[1];
  }
  auto w = weights.dimensions();
  auto n = neurons.dimensions();  // [threshold bias start, 1 or target, lane]
  auto o = out->dimensions();
  const int targets = int(points_to.element_count()) - 1, samples = int(peak->dimensions()[0]);
  if (heard_from.element_count() != positions + 1 || n[1] * n[0] != 3 * n[1] || (n[1] != 1 && n[1] != targets) ||
      w[0] * w[2] != n[2] || w[1] > 65536)
    return ffi::Error::InvalidArgument("fire: tables, weights and neurons do not fit together");
  layer.heard_from = heard_from.typed_data();
  layer.heard = heard.typed_data();
  layer.points_to = points_to.typed_data();
  layer.points = reinterpret_cast<const fire::Pointwise*>(points.typed_data());
  layer.point_weights = point_weights.typed_data();
  layer.weights = weights.typed_data();
  layer.rows = int(w[1]);
  layer.targets = targets;
  layer.lanes_all = int(n[2]);
  layer.lanes_block = int(w[2]);
  layer.each = n[1] == 1 ? 0 : layer.lanes_all;
  layer.threshold = neurons.typed_data();
  layer.bias = layer.threshold + n[1] * n[2];
  layer.start = layer.bias + n[1] * n[2];
  layer.biased = biased;
  layer.mode = fire::Mode(mode);
  layer.steps = steps;
  layer.out_steps = int(o[2]);
  layer.out_bytes = int(o[3]);
  layer.levels = levels;
  layer.chunk = chunk;
  layer.bounded = limit < double(std::is_same_v<W, float> ? 1e30 : 2147483647.0);
  layer.limit = layer.bounded ? Number(limit) : Number(0);
  layer.watched = watched;
  layer.out = out->typed_data();
  layer.membrane = membrane->typed_data();
  layer.peak = peak->typed_data();
  for (int s = 0; s < samples; s++) layer.peak[s] = 0;
  // A tile has all steps of its samples: enough of them to amortise reading the weights, few enough for all threads.
  const int threads = int(std::max<int64_t>(1, pool.num_threads()));
  const int each = std::max(1, std::min((samples + threads - 1) / threads, Rows / std::max(1, steps * targets)));
  thread_local Shared shared;  // of this call: it is over when all threads are
  shared.forget();
  share(pool, (samples + each - 1) / each, [&, &shared = shared](int i) {
    const int begin = i * each, end = std::min(samples, begin + each);
    thread_local Scratch<W> scratch;
    const Way way = tile(layer, begin, end, may_look_up, {lookup, matrix}, shared, scratch);
    for (int s = begin; s < end; s++) ways->typed_data()[s] = way;
  });
  return ffi::Error::Success();
}

}  // namespace

#define FIRE(NAME, W)                                                                                                 \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, run<W>,                                                                         \
                                ffi::Ffi::Bind()                                                                      \
                                    .Ctx<ffi::ThreadPool>()                                                           \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                                     \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                                     \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                                     \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                                     \
                                    .Arg<ffi::Buffer<Types<W>::weight>>()                                             \
                                    .Arg<ffi::Buffer<Types<W>::weight>>()                                             \
                                    .Arg<ffi::Buffer<Types<W>::number>>()                                             \
                                    .RemainingArgs()                                                                  \
                                    .Ret<ffi::Buffer<ffi::U8>>()                                                      \
                                    .Ret<ffi::Buffer<Types<W>::number>>()                                             \
                                    .Ret<ffi::Buffer<Types<W>::number>>()                                             \
                                    .Ret<ffi::Buffer<ffi::S32>>()                                                     \
                                    .Attr<int32_t>("mode")                                                            \
                                    .Attr<int32_t>("steps")                                                           \
                                    .Attr<int32_t>("levels")                                                          \
                                    .Attr<int32_t>("chunk")                                                           \
                                    .Attr<int32_t>("biased")                                                          \
                                    .Attr<int32_t>("watched")                                                         \
                                    .Attr<double>("limit")                                                            \
                                    .Attr<int32_t>("may_look_up")                                                     \
                                    .Attr<float>("lookup")                                                            \
                                    .Attr<float>("matrix"))

FIRE(fire_int8, int8_t);
FIRE(fire_int16, int16_t);
FIRE(fire_float32, float);

extern "C" int matrix_units() {
#if FIRE_MATRIX
  return fire::matrix_units();
#else
  return 0;
#endif
}
