// One population of integrate-and-fire neurons over a whole window: packed spikes in, packed spikes out.
//
// Neurons are positions x channels. Every source position is heard by some target positions, each through its own rows
// of the weight matrix (one row for each source channel): that is a dense layer with one position, a convolution with
// one block of rows for each tap, a residual with rows of its own. A second kind of synapse, `Pointwise`, goes from a
// channel to the same channel: pools, depthwise kernels, identity branches.
//
// A tile is a set of (target, step) rows. Its spikes are counted exactly before work starts, and the cheapest way is
// taken: `lists` sums the weight rows of the spikes that there are; `lookup` holds the 16 sums of every four inputs in
// tables and adds one for each four bits, whatever they are; `matrix` multiplies, on processors with units for that.
// All give the same integers.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "lanes.h"

namespace fire {

enum Mode { RateSoft, RateHard, Unary, Bits, Sum, SumBits };

struct Source {
  const uint8_t* spikes;  // [sample, position, step, byte]
  int positions, steps, bytes;
  int late;  // silent steps before its first
};

struct Pointwise {  // one entry: target position hears `position` of `source`, times `weight` by channel
  int source, position, weight;
};

template <class W>
struct Kind {  // 8 and 16 bit weights: summed in 16 bits, state in 32
  using Total = lanes::Half;
  using State = lanes::Word;
  using Number = int32_t;
  static constexpr int Wide = 2;
};

template <>
struct Kind<float> {
  using Total = lanes::Real;
  using State = lanes::Real;
  using Number = float;
  static constexpr int Wide = 1;
};

template <class W>
struct Layer {
  using Number = typename Kind<W>::Number;
  std::vector<Source> sources;
  const int32_t* heard_from;  // [source position + 1]: its entries in `heard`, sources one after the other
  const int32_t* heard;       // [entry, 2]: target position, first weight row
  const int32_t* points_to;   // [target + 1]: its entries in `points`
  const Pointwise* points;
  const W* point_weights;  // [weight, lane]
  const W* weights;        // [block, row, lane in block]
  int rows, targets, lanes_all, lanes_block;
  const Number *threshold, *bias, *start;  // [1 or target, lane]
  int each;                                // lanes_all if they differ between targets, else 0
  bool biased;
  Mode mode;
  int steps, out_steps, out_bytes, levels, chunk;
  Number limit;
  bool bounded, watched;  // membranes saturate at `limit`; their largest magnitude is wanted (rate code and its sums)
  uint8_t* out;    // [sample, target, step, byte]
  Number* membrane;  // [sample, target, lane], of read-outs
  Number* peak;      // [sample]
};

template <class W, int N>
inline void flush(typename Kind<W>::State* v, const typename Kind<W>::Total* x) {
  for (int i = 0; i < N; i++)
    if constexpr (std::is_same_v<W, float>)
      v[i] += x[i];
    else
      lanes::add_wide(v[2 * i], v[2 * i + 1], x[i]);
}

// The pointwise synapses of one (sample, target, step) onto N vectors of lanes from `lane`.
template <class W, int N>
inline bool points(const Layer<W>& layer, int sample, int target, int step, int lane, typename Kind<W>::State* v) {
  using Total = typename Kind<W>::Total;
  constexpr int Width = sizeof(Total) / (std::is_same_v<W, float> ? 4 : 2);
  bool any = false;
  Total x[N] = {};
  int held = 0;
  for (int e = layer.points_to[target]; e < layer.points_to[target + 1]; e++) {
    const Pointwise& point = layer.points[e];
    const Source& source = layer.sources[point.source];
    const int t = step - source.late;
    if (t < 0 || lane / 8 >= source.bytes) continue;
    const uint8_t* row =
        source.spikes + ((size_t(sample) * source.positions + point.position) * source.steps + t) * source.bytes;
    const W* weight = layer.point_weights + size_t(point.weight) * layer.lanes_all + lane;
    for (int i = 0; i < N && lane / 8 + i * Width / 8 < source.bytes; i++) {
      uint32_t bits = 0;
      memcpy(&bits, row + lane / 8 + i * Width / 8, Width / 8 ? Width / 8 : 1);
      if constexpr (Width < 8) bits = bits >> (lane + i * Width) % 8 & ((1u << Width) - 1);
      if (!bits) continue;
      any = true;
      if constexpr (std::is_same_v<W, float>)
        x[i] += lanes::selected(bits, lanes::load<lanes::Real>(weight + i * Width));
      else
        x[i] += lanes::selected(bits, lanes::widened(weight + i * Width));
    }
    if (++held == layer.chunk) {
      flush<W, N>(v, x);
      for (int i = 0; i < N; i++) x[i] = Total{};
      held = 0;
    }
  }
  if (any) flush<W, N>(v, x);
  return any;
}

// The bits of NS state vectors, collected in words, of which `room` bytes are stored.
template <int NS>
struct Spikes {
  static constexpr int Size = NS * lanes::Words / 8 ? NS * lanes::Words / 8 : 1;
  uint64_t words[(NS * lanes::Words + 63) / 64] = {};
  void put(int i, uint32_t bits) { words[i * lanes::Words / 64] |= uint64_t(bits) << i * lanes::Words % 64; }
  void store(uint8_t* to, int room, int lane) const {
    if constexpr (NS * lanes::Words < 8) {  // half a byte: the lower lanes come first
      if (room > 0) *to = uint8_t(lane % 8 ? *to | words[0] << lane % 8 : words[0]);
    } else if (room >= Size)
      memcpy(to, words, Size);
    else
      for (int i = 0; i < room; i++) to[i] = uint8_t(words[i / 8] >> i % 8 * 8);
  }
};

// All steps of N x Wide state vectors of one neuron row. arrive(t, v) adds what comes in step t and says if any came.
template <class W, int N, class Arrive>
inline void dynamics(const Layer<W>& layer, int sample, int target, int lane, const Arrive& arrive) {
  using State = typename Kind<W>::State;
  using Number = typename Kind<W>::Number;
  constexpr int NS = N * Kind<W>::Wide, Words = lanes::Words;
  const size_t own = size_t(target) * layer.each + lane;
  const Number *threshold = layer.threshold + own, *bias = layer.bias + own, *start = layer.start + own;
  const Mode mode = layer.mode;
  const bool rate = mode == RateSoft || mode == RateHard, hard = mode == RateHard, watched = layer.watched;
  const bool plain = mode == RateSoft && !layer.biased && !watched;
  const bool doubles = mode == Bits || mode == SumBits;
  const int room = layer.out_bytes - lane / 8;
  uint8_t* out = layer.out + (size_t(sample) * layer.targets + target) * layer.out_steps * layer.out_bytes + lane / 8;
  State v[NS], high{}, low{};
  for (int i = 0; i < NS; i++) v[i] = rate ? lanes::load<State>(start + i * Words) : State{};
  const State limit = lanes::splat<State>(layer.limit);
  if (watched)
    for (int i = 0; i < NS; i++) high = lanes::greater(high, v[i]);
  const bool pointed = layer.points_to[target] < layer.points_to[target + 1];
  bool still = false;  // nothing reached its threshold, so that nothing does until something arrives
  for (int t = 0; t < layer.steps; t++) {
    if (doubles)
      for (int i = 0; i < NS; i++) v[i] += v[i];
    bool any = arrive(t, v);
    if (pointed) any |= points<W, N>(layer, sample, target, t, lane, v);
    if (rate) {
      Spikes<NS> spikes;
      if (any || !still) {
        uint32_t all = 0;
        if (plain)
          for (int i = 0; i < NS; i++) {
            const State th = lanes::load<State>(threshold + i * Words);
            const uint32_t bits = lanes::spike(v[i], th, th);
            spikes.put(i, bits);
            all |= bits;
          }
        else for (int i = 0; i < NS; i++) {
          if (layer.biased) v[i] += lanes::load<State>(bias + i * Words);
          if (watched) {
            high = lanes::greater(high, v[i]);
            low = lanes::lesser(low, v[i]);
            if (layer.bounded) v[i] = lanes::lesser(lanes::greater(v[i], -limit), limit);
          }
          const State th = lanes::load<State>(threshold + i * Words);
          const uint32_t bits = lanes::spike(v[i], th, hard ? v[i] : th);
          spikes.put(i, bits);
          all |= bits;
        }
        still = !all && !layer.biased;
      }
      spikes.store(out + size_t(t) * layer.out_bytes, room, lane);
    } else if (layer.biased || watched) {  // a read-out under the rate code
      for (int i = 0; i < NS; i++) {
        if (layer.biased) v[i] += lanes::load<State>(bias + i * Words);
        if (!watched) continue;
        high = lanes::greater(high, v[i]);
        low = lanes::lesser(low, v[i]);
        if (layer.bounded) v[i] = lanes::lesser(lanes::greater(v[i], -limit), limit);
      }
    }
  }
  if (mode == Unary || mode == Bits) {
    const State zero{}, one = lanes::splat<State>(Number(1));
    for (int i = 0; i < NS; i++) {
      const State th = lanes::load<State>(threshold + i * Words);
      v[i] += lanes::load<State>(start + i * Words);
      if (doubles && layer.levels + 1 != 1 << layer.out_steps)  // otherwise saturation comes by itself
        v[i] = lanes::lesser(lanes::greater(v[i], zero), th * lanes::splat<State>(Number(layer.levels + 1)) - one);
    }
    for (int t = 0; t < layer.out_steps; t++) {
      Spikes<NS> spikes;
      for (int i = 0; i < NS; i++) {
        const Number factor = doubles ? Number(int64_t(1) << (layer.out_steps - 1 - t)) : Number(1);
        const State th = lanes::load<State>(threshold + i * Words) * lanes::splat<State>(factor);
        spikes.put(i, lanes::spike(v[i], th, th));
      }
      spikes.store(out + size_t(t) * layer.out_bytes, room, lane);
    }
  }
  if (mode == Sum || mode == SumBits) {
    Number* to = layer.membrane + (size_t(sample) * layer.targets + target) * layer.lanes_all + lane;
    for (int i = 0; i < NS; i++) lanes::store(to + i * Words, v[i]);
  }
  if (watched)
    for (int i = 0; i < Words; i++)
      layer.peak[sample] = std::max(layer.peak[sample], std::max(Number(high[i]), Number(-low[i])));
}

}  // namespace fire
