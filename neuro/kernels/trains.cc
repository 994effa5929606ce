// XLA's door to `trains`, and to neurons that are driven by numbers instead of spikes.
#include "trains.h"

#include "fire.h"
#include "threads.h"

namespace ffi = xla::ffi;

namespace {

using Bytes = ffi::Buffer<ffi::U8>;
using Integers = ffi::Buffer<ffi::S32>;

trains::Trains trains_of(const Bytes& spikes) {
  auto d = spikes.dimensions();
  return {spikes.typed_data(), int(d[1]), int(d[2]), int(d[3])};
}

ffi::Error pool_trains(ffi::ThreadPool threads, Bytes spikes, Integers ends, Integers members, ffi::Result<Bytes> out,
                       int32_t serial) {
  const trains::Trains from = trains_of(spikes);
  const int targets = int(ends.element_count()) - 1;
  const size_t each = size_t(from.steps) * from.bytes;
  share(threads, int(spikes.dimensions()[0]), [&](int s) {
    for (int p = 0; p < targets; p++)
      trains::pool(from, s, members.typed_data() + ends.typed_data()[p], members.typed_data() + ends.typed_data()[p + 1],
                   serial, out->typed_data() + (size_t(s) * targets + p) * each);
  });
  return ffi::Error::Success();
}

ffi::Error count_trains(ffi::ThreadPool threads, Bytes spikes, ffi::Result<Integers> out, int32_t doubles) {
  const trains::Trains from = trains_of(spikes);
  const size_t each = size_t(from.positions) * from.bytes * 8;
  share(threads, int(spikes.dimensions()[0]),
        [&](int s) { trains::count(from, s, doubles, out->typed_data() + s * each); });
  return ffi::Error::Success();
}

// Neurons whose drive [sample, position, lane] is known: the same in every step under the rate code, there at once
// under a window code.
template <class W, ffi::DataType Type>
ffi::Error drive(ffi::ThreadPool threads, ffi::Buffer<Type> drives, ffi::Buffer<Type> neurons, ffi::Result<Bytes> out,
                 ffi::Result<ffi::Buffer<Type>> peak, int32_t mode, int32_t levels, int32_t biased, int32_t watched,
                 double limit) {
  using State = typename fire::Kind<W>::State;
  using Number = typename fire::Kind<W>::Number;
  constexpr int N = 2, NS = N * fire::Kind<W>::Wide, Block = NS * lanes::Words;
  auto d = drives.dimensions();
  auto n = neurons.dimensions();
  if (d[2] % 64 || n[2] != d[2] || n[0] != 3 || out->dimensions()[3] * 8 != d[2])
    return ffi::Error::InvalidArgument("drive: lanes must come in multiples of 64");
  fire::Layer<W> layer{};
  const std::vector<int32_t> none(d[1] + 1, 0);
  const bool rate = mode == fire::RateSoft || mode == fire::RateHard;
  layer.points_to = none.data();
  layer.targets = int(d[1]);
  layer.lanes_all = int(d[2]);
  layer.each = n[1] == 1 ? 0 : int(d[2]);
  layer.threshold = neurons.typed_data();
  layer.bias = layer.threshold + n[1] * n[2];
  layer.start = layer.bias + n[1] * n[2];
  layer.biased = rate && biased;
  layer.watched = rate && watched;
  layer.mode = fire::Mode(mode);
  layer.out_steps = int(out->dimensions()[2]);
  layer.steps = rate ? layer.out_steps : 1;
  layer.out_bytes = int(out->dimensions()[3]);
  layer.levels = levels;
  layer.chunk = 1;
  layer.bounded = limit < double(std::is_same_v<W, float> ? 1e30 : 2147483647.0);
  layer.limit = layer.bounded ? Number(limit) : Number(0);
  layer.out = out->typed_data();
  layer.peak = peak->typed_data();
  const int positions = int(d[1]);
  const size_t each = size_t(positions) * d[2];
  share(threads, int(d[0]), [&](int s) {
    layer.peak[s] = 0;
    for (int p = 0; p < positions; p++)
      for (int lane = 0; lane < layer.lanes_all; lane += Block) {
        const Number* x = drives.typed_data() + s * each + size_t(p) * d[2] + lane;
        fire::dynamics<W, N>(layer, s, p, lane, [&](int, State* v) {
          for (int i = 0; i < NS; i++) v[i] += lanes::load<State>(x + i * lanes::Words);
          return true;
        });
      }
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(pool, pool_trains,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Bytes>()
                                  .Arg<Integers>()
                                  .Arg<Integers>()
                                  .Ret<Bytes>()
                                  .Attr<int32_t>("serial"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(count, count_trains,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Bytes>().Ret<Integers>().Attr<int32_t>(
                                  "doubles"));

#define DRIVE(NAME, W, TYPE)                                                 \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (drive<W, TYPE>),                      \
                                ffi::Ffi::Bind()                             \
                                    .Ctx<ffi::ThreadPool>()                  \
                                    .Arg<ffi::Buffer<TYPE>>()                \
                                    .Arg<ffi::Buffer<TYPE>>()                \
                                    .Ret<Bytes>()                            \
                                    .Ret<ffi::Buffer<TYPE>>()                \
                                    .Attr<int32_t>("mode")                   \
                                    .Attr<int32_t>("levels")                 \
                                    .Attr<int32_t>("biased")                 \
                                    .Attr<int32_t>("watched")                \
                                    .Attr<double>("limit"))

DRIVE(drive_int32, int16_t, ffi::S32);
DRIVE(drive_float32, float, ffi::F32);

extern "C" int lane_bytes() { return lanes::Bytes; }
