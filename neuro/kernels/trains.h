// Packed spike trains between layers: pooling and counting.
#pragma once

#include <algorithm>
#include <vector>

#include "lanes.h"

namespace trains {

struct Trains {
  const uint8_t* spikes;  // [sample, position, step, byte]
  int positions, steps, bytes;
  const uint8_t* at(int sample, int position) const {
    return spikes + (size_t(sample) * positions + position) * steps * bytes;
  }
};

// Largest member of every window: OR of trains, or with `serial` a comparison of binary numbers, most significant bit
// first, in which a member leaves as soon as it lacks a bit that another one has.
inline void pool(const Trains& from, int sample, const int32_t* first, const int32_t* last, bool serial, uint8_t* to) {
  const size_t size = size_t(from.steps) * from.bytes;
  memset(to, 0, size);
  if (!serial) {
    for (const int32_t* q = first; q < last; q++) {
      const uint8_t* row = from.at(sample, *q);
      for (size_t k = 0; k < size; k++) to[k] |= row[k];
    }
    return;
  }
  thread_local std::vector<uint64_t> alive;
  for (int word = 0; word < from.bytes / 8; word++) {
    alive.assign(last - first, ~uint64_t(0));
    for (int t = 0; t < from.steps; t++) {
      uint64_t any = 0, bits;
      for (const int32_t* q = first; q < last; q++) {
        memcpy(&bits, from.at(sample, *q) + size_t(t) * from.bytes + 8 * word, 8);
        any |= bits & alive[q - first];
      }
      for (const int32_t* q = first; q < last; q++) {
        memcpy(&bits, from.at(sample, *q) + size_t(t) * from.bytes + 8 * word, 8);
        alive[q - first] &= ~any | bits;
      }
      memcpy(to + size_t(t) * from.bytes + 8 * word, &any, 8);
    }
  }
}

// Value of every neuron's train: its spikes, or with `doubles` the binary number that they are.
inline void count(const Trains& from, int sample, bool doubles, int32_t* to) {
  const int lanes = from.bytes * 8;
  for (int q = 0; q < from.positions; q++, to += lanes) {
    memset(to, 0, size_t(lanes) * 4);
    const uint8_t* row = from.at(sample, q);
    for (int t = 0; t < from.steps; t++) {
      const int32_t one = doubles ? 1 << (from.steps - 1 - t) : 1;
      for (int word = 0; word < from.bytes / 8; word++, row += 8) {
        uint64_t bits;
        memcpy(&bits, row, 8);
        for (; bits; bits &= bits - 1) to[64 * word + __builtin_ctzll(bits)] += one;
      }
    }
  }
}

}  // namespace trains
