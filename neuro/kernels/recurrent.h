// Spiking neurons that hear each other: all populations of a network over a whole run, one sample.
//
// Neurons of all populations stand one after the other, each population from a new word of 64 on; input populations
// follow. What arrives waits in a ring of slots, one for each step to come up to the longest delay. A synapse is one
// number for its place in the ring, counted from the slot of the next step, and its weight, each in as few bytes as
// hold it: rows of synapses are read from far away. Where places stand close together, rows are wide: an entry is eight
// places in a row and a weight for each, zero where there is no synapse, and a vector adds them. With a shortest delay
// of D steps a word of neurons takes D + 1 steps in a row, its state in the first cache, and then the spikes are
// delivered.
//
// `Merged`: where every spike takes the same D + 1 steps, the first of the next ones has the same slot every time. That
// slot is the current: it has decayed already when what arrives in that step is added to it. That is one sum in another
// order, which whole numbers do not notice, nor currents of which a step leaves nothing.
//
// All that lasts from step to step lies in one piece of memory (`State`), so that a run can be taken up where it ended.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "network.h"

namespace recurrent {

template <class T>
class Run {
  using V = typename Lane<T>::Vector;
  using M = typename Lane<T>::Mask;
  static constexpr int N = Lane<T>::Count, K = Word / N;

  const Network<T>& net;
  const State<T> state;
  const int origin;  // the first step of this call
  std::vector<uint32_t> firing;
  int announced = 0;  // rows asked for in this block

  struct Words {  // one parameter of one word of neurons
    const T* from;
    V operator[](int i) const { return lanes::load<V>(from + i * N); }
  };

  struct One {  // one for all of them
    V value;
    V operator[](int) const { return value; }
  };

  struct Alike {  // what is the same for all neurons of a uniform population
    V bias, decay, beyond, flow[Receptors];
  };

  Alike alike(const Population& p) const {
    Alike found{of<true>(p, Bias, 0)[0], of<true>(p, Decay, 0)[0], of<true>(p, Beyond, 0)[0], {}};
    for (int k = 0; k < std::min(p.receptors, Receptors); k++) found.flow[k] = of<true>(p, CurrentDecay + k, 0)[0];
    return found;
  }

  template <bool Same>
  auto of(const Population& p, int name, int word) const {
    const Parameter& at = net.parameters[p.parameters + name];
    const T* from = net.numbers + (size_t(at.block) + size_t(at.stride) * word) * Word;
    if constexpr (Same) return One{lanes::load<V>(from)};
    else return Words{from};
  }

  static V truncated(V x) {
#if LANES_AVX512 || LANES_AVX2
    constexpr int Mode = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
#endif
#if LANES_AVX512
    if constexpr (std::is_same_v<T, float>) return (V)_mm512_roundscale_ps((__m512)x, Mode);
    else return (V)_mm512_roundscale_pd((__m512d)x, Mode);
#elif LANES_AVX2
    if constexpr (std::is_same_v<T, float>) return (V)_mm256_round_ps((__m256)x, Mode);
    else return (V)_mm256_round_pd((__m256d)x, Mode);
#else
    for (int i = 0; i < N; i++) x[i] = std::trunc(x[i]);
    return x;
#endif
  }

  struct Quantum {
    V size, number;  // how many make one
    bool exact;      // a power of two: its inverse is a number too
  };

  static Quantum quantum_of(const V& size) {
    Quantum found{size, {}, false};
    if constexpr (!std::is_same_v<T, int32_t>) {
      int exponent;
      found.exact = std::frexp(size[0], &exponent) == T(0.5) && std::isnormal(T(1) / size[0]);
      found.number = V{} + T(1) / size[0];
    }
    return found;
  }

  template <bool Quantised>
  static V kept(const V& x, const V& decay, const Quantum& quantum) {
    if constexpr (std::is_same_v<T, int32_t>) {  // |x| n / 4096 in two parts, neither of which overflows
      const V sign = x >> 31, size = (x ^ sign) - sign;
      const V less = (size >> Shift) * decay + (((size & ((1 << Shift) - 1)) * decay) >> Shift);
      return (less ^ sign) - sign;
    } else if constexpr (Quantised) {
      const V left = x * decay;
      return truncated(quantum.exact ? left * quantum.number : left / quantum.size) * quantum.size;
    } else {
      return x * decay;
    }
  }

  // One step of 64 neurons: word `w` of population `p`, whose first word is `first`; slot: of the ring, in which the
  // step's arrivals are. Returns their spikes.
  template <Form F, bool Quantised, bool Merged>
  __attribute__((always_inline)) uint64_t advance(const Population& p, const Alike& same, const Quantum& quantum,
                                                  int first, int w, T* slot, bool begins, bool ends, int32_t& updated) {
    constexpr bool General = F == Form::General, Uniform = F == Form::Uniform;
    const size_t at = size_t(first + w) * Word;
    auto given = [&](int name, const V& value) {
      if constexpr (Uniform) return One{value};
      else return of<false>(p, name, w);
    };
    V drive[K];
    M touched[K];
    T* arrived = slot + p.place + size_t(w) * Word;
    T* flowing = (Merged ? state.ring : state.current) + p.place + size_t(w) * Word;
#pragma GCC unroll 16
    for (int i = 0; i < K; i++) drive[i] = V{}, touched[i] = M{};
    for (int k = 0; k < p.receptors; k++) {
      const auto decay = given(CurrentDecay + k, same.flow[Uniform ? k : 0]);
#pragma GCC unroll 16
      for (int i = 0; i < K; i++) {
        V u = lanes::load<V>(flowing + i * N);
        if (!Merged || !begins) {
          u = kept<Quantised>(u, decay[i], quantum) + lanes::load<V>(arrived + i * N);
          lanes::store(arrived + i * N, V{});
        }
        if (Merged && ends) lanes::store(flowing + i * N, kept<Quantised>(u, decay[i], quantum));
        else if (!Merged || !begins) lanes::store(flowing + i * N, u);
        drive[i] += u;
        if (General) touched[i] |= (M)u;
      }
      arrived += size_t(p.words) * Word;
      flowing += size_t(p.words) * Word;
    }
    const auto threshold = of<false>(p, At, w);
    const auto beyond = given(Beyond, same.beyond), bias = given(Bias, same.bias), decay = given(Decay, same.decay);
    const V limit = of<true>(p, Limit, 0)[0];
    const M loose = M{} - !p.strict, soft = M{} - p.soft;
    const uint64_t waiting = state.held[first + w];
    T* voltage = state.membrane + at;
    uint64_t spikes = 0, moved = 0;
#pragma GCC unroll 16
    for (int i = 0; i < K; i++) {
      const V before = lanes::load<V>(voltage + i * N);
      V add = drive[i] + bias[i], reach = General ? threshold[i] : beyond[i];
      if (General && p.adapts != Nothing) {
        const V a = lanes::load<V>(state.adaptation + at + i * N);
        if (p.adapts == Current) add -= a;
        else reach += a;
        touched[i] |= (M)a;
      }
      V v = kept<Quantised>(before, decay[i], quantum) + add;
      if (General && p.saturates) {
        v = v < limit ? v : limit;
        v = v > -limit ? v : -limit;
      }
      const M rest = spread<T>(waiting >> (i * N));
      v = rest ? before : v;
      const M fires = General ? (v > reach) | ((v == reach) & loose) : v >= reach;
      if (General && p.counted) {  // twice a number is zero if it is, whatever its sign
        const V b = bias[i];
        moved |= bits((((touched[i] | (M)v | (M)before | (M)b) << 1) != 0)) << (i * N);
      }
      lanes::store(voltage + i * N, v);
      spikes |= bits(fires) << (i * N);
    }
    spikes &= ~waiting;
    if (spikes)
      for (int i = 0; i < K; i++) {
        const M fires = spread<T>(spikes >> (i * N));
        const V v = lanes::load<V>(voltage + i * N);
        V reach = threshold[i];
        if (General && p.adapts == Threshold) reach += lanes::load<V>(state.adaptation + at + i * N);
        lanes::store(voltage + i * N, fires ? (V)((M)(v - reach) & soft) : v);
      }
    if (General && p.adapts != Nothing)
      for (int i = 0; i < K; i++) {
        T* a = state.adaptation + at + i * N;
        const V fading = kept<Quantised>(lanes::load<V>(a), of<false>(p, JumpDecay, w)[i], quantum);
        lanes::store(a, fading + (V)((M)of<false>(p, Jump, w)[i] & spread<T>(spikes >> (i * N))));
      }
    const int there = std::min(Word, p.neurons - w * Word);
    const uint64_t real = there == Word ? ~uint64_t(0) : (uint64_t(1) << there) - 1;
    updated += General && p.counted ? __builtin_popcountll(moved & real) : there;
    return spikes & real;
  }

  // Refractory neurons of a word that are free again; over: of every word, in this step.
  void free(int word, uint64_t* over) {
    if (!net.wait || !over[word]) return;
    state.held[word] &= ~over[word];
    over[word] = 0;
  }

  void hold(const Population& p, int word, int t, uint64_t spikes) {
    const int ring_steps = net.wait + 2;
    if (!spikes || !p.refractory) return;
    if (p.refractory > 0) {
      state.held[word] |= spikes;
      state.release[size_t((t + 1 + std::min(p.refractory, net.wait)) % ring_steps) * net.words + word] |= spikes;
      return;
    }
    for (uint64_t left = spikes; left; left &= left - 1) {
      const int steps = std::min(net.refractory[size_t(word) * Word + __builtin_ctzll(left)], net.wait);
      if (!steps) continue;
      state.held[word] |= left & -left;
      state.release[size_t((t + 1 + steps) % ring_steps) * net.words + word] |= left & -left;
    }
  }

  void collect(const uint8_t* row, int words, uint32_t first) {
    for (int w = 0; w < words; w++) {
      uint64_t left;
      memcpy(&left, row + 8 * w, 8);
      for (; left; left &= left - 1) firing.push_back(first + w * Word + __builtin_ctzll(left));
    }
  }

  // Asks for the first synapses of neurons that fired, long before they are delivered.
  void announce(uint64_t spikes, uint32_t first) {
    for (; spikes && announced < Announced; spikes &= spikes - 1, announced++)
      ask(first + __builtin_ctzll(spikes), 0);
  }

  // Asks for a part of a row: the first `Ahead` places, or as many after these.
  void ask(uint32_t source, int part) const {
    const int entries = Ahead / net.width();
    const size_t from = size_t(net.rows[source]) + part * entries;
    const size_t to = std::min<size_t>(net.rows[source + 1], from + entries);
    auto lines = [&](const uint8_t* data, size_t bytes) {
      for (size_t at = from * bytes; at < to * bytes; at += 64) __builtin_prefetch(data + at);
    };
    lines(net.places, net.place_bytes());
    if (net.weight != Weight::OfRow) lines(net.weights, net.weight_bytes());
  }

  // The spikes of step t into the ring.
  void deliver(int t, const uint8_t* spikes, const uint8_t* entering) {
    net.near ? deliver<uint16_t>(t, spikes, entering) : deliver<uint32_t>(t, spikes, entering);
  }

  template <class P>
  void deliver(int t, const uint8_t* spikes, const uint8_t* entering) {
    switch (net.weight) {
      case Weight::OfRow: return deliver<P, void>(t, spikes, entering);
      case Weight::Short: return deliver<P, int16_t>(t, spikes, entering);
      case Weight::Single: return deliver<P, float>(t, spikes, entering);
      case Weight::Number: return deliver<P, T>(t, spikes, entering);
    }
  }

  template <class P, class S>
  void deliver(int t, const uint8_t* spikes, const uint8_t* entering) {
    net.slots == 1 ? deliver<P, S, false>(t, spikes, entering) : deliver<P, S, true>(t, spikes, entering);
  }

  template <class S>
  static void add_eight(T* to, const S* weights) {
    typedef T Numbers __attribute__((vector_size(Eight * sizeof(T))));
    typedef S Stored __attribute__((vector_size(Eight * sizeof(S))));
    const Numbers amounts = converted<Numbers>(lanes::load<Stored>(weights));
    lanes::store(to, lanes::load<Numbers>(to) + amounts);
  }

  // Round: a place may lie behind the end of the ring, which goes on at its beginning.
  template <class P, class S, bool Round>
  void deliver(int t, const uint8_t* spikes, const uint8_t* entering) {
    firing.clear();
    collect(spikes, net.words, 0);
    collect(entering, net.input_words, uint32_t(net.words) * Word);
    const size_t slot = net.slot / net.width();
    const uint32_t base = uint32_t((t + 1) % net.slots * slot), all = uint32_t(net.slots * slot);
    const P* places = reinterpret_cast<const P*>(net.places);
    T* to = state.ring;
    auto at = [=](P of) {
      uint32_t place = of;
      if constexpr (Round) place += base, place -= place >= all ? all : 0;
      return place;
    };
    for (size_t i = 0; i < firing.size(); i++) {
      if (i + Early < firing.size()) ask(firing[i + Early], i + Early < size_t(announced));
      size_t s = net.rows[firing[i]];
      const size_t end = net.rows[firing[i] + 1];
      if constexpr (std::is_void_v<S>) {
        const T same = reinterpret_cast<const T*>(net.weights)[firing[i]];
        for (; s < end; s++) to[at(places[s])] += same;
      } else if (net.wide) {
        const S* weights = reinterpret_cast<const S*>(net.weights);
        for (; s < end; s++) add_eight(to + size_t(at(places[s])) * Eight, weights + s * Eight);
      } else {
        typedef S Some __attribute__((vector_size(N * sizeof(S))));
        const S* weights = reinterpret_cast<const S*>(net.weights);
        for (; s + N <= end; s += N) {
          T amounts[N];
          lanes::store(amounts, converted<V>(lanes::load<Some>(weights + s)));
          for (int k = 0; k < N; k++) to[at(places[s + k])] += amounts[k];
        }
        for (; s < end; s++) to[at(places[s])] += T(weights[s]);
      }
    }
  }

  template <Form F, bool Quantised, bool Merged>
  void advance(const Population& p, int first, int begin, int end, uint8_t* spikes, int32_t* updated) {
    const Alike same = alike(p);
    const Quantum quantum = quantum_of(of<true>(p, Grain, 0)[0]);
    T* slots[Block];  // of every step
    uint64_t* over[Block];
    for (int t = begin; t < end; t++) {
      slots[t - begin] = state.ring + size_t(t % net.slots) * net.slot;
      over[t - begin] = state.release + (net.wait ? size_t(t % (net.wait + 2)) * net.words : 0);
    }
    for (int w = 0; w < p.words; w++)
      for (int t = begin; t < end; t++) {
        free(first + w, over[t - begin]);
        const uint64_t fired = advance<F, Quantised, Merged>(
            p, same, quantum, first, w, slots[t - begin], t == begin, t + 1 == end,
            updated[size_t(t - origin) * net.count]);
        hold(p, first + w, t, fired);
        announce(fired, (first + w) * Word);
        memcpy(spikes + (size_t(t - origin) * net.words + first + w) * 8, &fired, 8);
      }
  }

  template <bool Quantised, bool Merged>
  void advance(const Population& p, int first, int begin, int end, uint8_t* spikes, int32_t* updated) {
    switch (Form(p.form)) {
      case Form::General: return advance<Form::General, Quantised, Merged>(p, first, begin, end, spikes, updated);
      case Form::Plain: return advance<Form::Plain, Quantised, Merged>(p, first, begin, end, spikes, updated);
      case Form::Uniform: return advance<Form::Uniform, Quantised, Merged>(p, first, begin, end, spikes, updated);
    }
  }

 public:
  // memory: of `State<T>::bytes(network)`, the state after the step before `origin`.
  Run(const Network<T>& network, uint8_t* memory, int origin) : net(network), state(network, memory), origin(origin) {}

  // spikes [step, word], updated [step, population]; entering [step, input word].
  void operator()(int steps, const uint8_t* entering, uint8_t* spikes, int32_t* updated) {
    if (!origin) start();
    std::fill(updated, updated + size_t(steps) * net.count, 0);
    for (int begin = origin; begin < origin + steps; begin += net.block) {
      const int end = std::min(origin + steps, begin + net.block);
      announced = 0;
      int first = 0;
      for (int k = 0; k < net.count; first += net.populations[k++].words) {
        const Population& p = net.populations[k];
        if constexpr (!std::is_same_v<T, int32_t>) {
          if (p.quantised) {
            net.merged ? advance<true, true>(p, first, begin, end, spikes, updated + k)
                       : advance<true, false>(p, first, begin, end, spikes, updated + k);
            continue;
          }
        }
        net.merged ? advance<false, true>(p, first, begin, end, spikes, updated + k)
                   : advance<false, false>(p, first, begin, end, spikes, updated + k);
      }
      for (int t = begin; t < end; t++)
        deliver(t, spikes + size_t(t - origin) * net.words * 8, entering + size_t(t - origin) * net.input_words * 8);
    }
  }

 private:
  void start() {
    int first = 0;
    for (int k = 0; k < net.count; first += net.populations[k++].words)
      for (int w = 0; w < net.populations[k].words; w++)
        memcpy(state.membrane + size_t(first + w) * Word, of<false>(net.populations[k], Start, w).from,
               Word * sizeof(T));
  }
};

}  // namespace recurrent
