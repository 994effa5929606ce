// A network of spiking neurons as it lies in memory: populations, their parameters, rows of synapses.
#pragma once

#include <type_traits>

#include "lanes.h"

namespace recurrent {

template <class T>
struct Lane {
  using Integer = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  static constexpr int Count = lanes::Bytes / sizeof(T);
  typedef T Vector __attribute__((vector_size(lanes::Bytes)));
  typedef Integer Mask __attribute__((vector_size(lanes::Bytes)));
};

// The highest bit of every lane.
template <class M>
inline uint64_t bits(const M& m) {
#if LANES_AVX512
  if constexpr (sizeof m[0] == 4) return _mm512_cmplt_epi32_mask((__m512i)m, _mm512_setzero_si512());
  else return _mm512_cmplt_epi64_mask((__m512i)m, _mm512_setzero_si512());
#elif LANES_AVX2
  if constexpr (sizeof m[0] == 4) return uint32_t(_mm256_movemask_ps((__m256)m));
  else return uint32_t(_mm256_movemask_pd((__m256d)m));
#else
  uint64_t found = 0;
  for (int i = 0; i < int(lanes::Bytes / sizeof m[0]); i++) found |= uint64_t(m[i] < 0) << i;
  return found;
#endif
}

// All bits of the lanes whose bit is set.
template <class T>
inline typename Lane<T>::Mask spread(uint64_t word) {
  typename Lane<T>::Mask each{};
  for (int i = 0; i < Lane<T>::Count; i++) each[i] = typename Lane<T>::Integer(1) << i;
  return ((typename Lane<T>::Mask{} + typename Lane<T>::Integer(word & ((1u << Lane<T>::Count) - 1))) & each) == each;
}

// Whole or real numbers as another kind. From 16 bits to 64, GCC goes one by one.
template <class To, class From>
inline To converted(const From& from) {
  if constexpr (sizeof from[0] == 2) {
#if LANES_AVX512
    if constexpr (sizeof from == 16 && sizeof(To) == 64) return (To)_mm512_cvtepi32_pd(_mm256_cvtepi16_epi32((__m128i)from));
#endif
    typedef int32_t Whole __attribute__((vector_size(2 * sizeof from)));
    return __builtin_convertvector(__builtin_convertvector(from, Whole), To);
  } else {
    return __builtin_convertvector(from, To);
  }
}

constexpr int Word = 64;         // neurons of one word
constexpr int Shift = 12;        // fixed point: decays are n / 4096
constexpr int Eight = 8;         // places of a wide entry
constexpr int Ahead = 256;       // places of a row that are asked for at once
constexpr int Early = 4;         // rows before its turn that a row is asked for
constexpr int Announced = 64;    // rows that are asked for before their delivery: what the second cache has room for
constexpr int Receptors = 4;     // that a uniform population has at most
constexpr int Block = 32;        // steps in a row at most
enum class Form { General, Plain, Uniform };  // plain: no adaptation, saturation or count; uniform: and all neurons alike
enum Adapts { Nothing, Threshold, Current };

struct Parameter {  // `Word` numbers for all neurons of a population (stride 0), or for every word of them (stride 1)
  int32_t block, stride;
};

struct Population {
  int32_t words, neurons, receptors, soft, strict, adapts, quantised, saturates, counted, refractory, place, parameters,
      form;
};  // refractory: steps, or -1 if neurons differ; place: in a slot of the ring; parameters: index of the first

enum Name { At, Bias, Decay, Start, Jump, JumpDecay, Grain, Limit, Beyond, CurrentDecay };
// Beyond: the smallest membrane that fires; CurrentDecay: one for each receptor

enum class Weight { OfRow, Short, Single, Number };  // Number: the kind that the network computes in

template <class T>
struct Network {
  const Population* populations;
  int count, words, input_words, slots, block, wait;  // wait: longest refractory time that matters
  bool merged;
  const Parameter* parameters;
  const T* numbers;
  const int32_t* refractory;  // of each neuron
  const int32_t* rows;        // [source + 1]: its entries
  const uint8_t* places;      // [entry] uint16_t or uint32_t, in eights where rows are wide
  const uint8_t* weights;     // [entry] or [entry, 8], or [source] where a row has one weight
  bool near;                  // places have 16 bits
  bool wide;                  // an entry is eight neighbouring places, else one synapse
  Weight weight;
  size_t slot;  // numbers of one slot of the ring

  int width() const { return wide ? Eight : 1; }
  size_t place_bytes() const { return near ? 2 : 4; }  // of an entry
  size_t weight_bytes() const { return width() * one_weight(); }
  size_t one_weight() const { return weight == Weight::Short ? 2 : weight == Weight::Single ? 4 : sizeof(T); }
};

template <class T>
struct State {  // views of one piece of memory, all zero before the first step
  T *ring, *current, *membrane, *adaptation;
  uint64_t *held, *release;  // refractory neurons; those free again, for every step to come

  State(const Network<T>& net, uint8_t* at) {
    const size_t neurons = size_t(net.words) * Word;
    ring = reinterpret_cast<T*>(at);
    current = ring + net.slots * net.slot;
    membrane = current + (net.merged ? 0 : net.slot);
    adaptation = membrane + neurons;
    held = reinterpret_cast<uint64_t*>(adaptation + neurons);
    release = held + net.words;
  }

  static size_t bytes(const Network<T>& net) {
    const size_t numbers = (net.slots + !net.merged) * net.slot + 2 * size_t(net.words) * Word;
    return numbers * sizeof(T) + size_t(1 + (net.wait ? net.wait + 2 : 0)) * net.words * 8;
  }
};

}  // namespace recurrent
