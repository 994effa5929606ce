// What spikes cause on the cores and links of a placed network, and which of them every step waits for.
//
// All of one sample and step is a row of numbers: how often borders were crossed, every load of every core (one load
// after the other, cores in whole vectors), packets on links.
#pragma once

#include <algorithm>
#include <vector>

#include "lanes.h"

namespace accounts {

using lanes::Real;
constexpr int Words = lanes::Words;

// What the spikes of a population cause (neuro/grouped.py). Neurons come in units of a word of one position: a spike
// causes what is common to its unit, and what its own neuron has beyond that.
struct Effects {
  const uint8_t* spikes;  // [sample, position, step, byte]
  int positions, steps, bytes, start;
  int number, places;    // units, places
  const int32_t* units;  // [unit, 6]: position, word, blocks (first, last) in common and of its neurons
  const int32_t *order, *blocks;  // [place]: where in the row it is counted; [block]: its first place
  const float* common;            // [block, place]
  const int32_t* row_of;          // [unit, lane]: place in `rows`
  const uint8_t* rows;            // [place]
};

constexpr int Block = 2 * Words;  // places

inline void add(float* to, const Real& sum) { lanes::store(to, lanes::load<Real>(to) + sum); }

// Adds a block of rows; 64 bytes fit into 16 bits.
inline void add_block(const uint8_t* const* rows, int number, int at, float* to) {
  lanes::Half sum{};
  for (int k = 0; k < number; k++) sum += lanes::widened(rows[k] + at);
  lanes::Word low{}, high{};
  lanes::add_wide(low, high, sum);
  add(to, __builtin_convertvector(low, Real));
  add(to + Words, __builtin_convertvector(high, Real));
}

// What the spikes of a unit in one step cause.
inline void add_unit(const Effects& all, const int32_t* unit, const int32_t* row_of, uint64_t bits, float* to) {
  const Real spikes = lanes::splat<Real>(float(__builtin_popcountll(bits)));
  for (int b = unit[2]; b < unit[3]; b++) {
    const float* common = all.common + size_t(b) * Block;
    add(to + all.blocks[b], spikes * lanes::load<Real>(common));
    add(to + all.blocks[b] + Words, spikes * lanes::load<Real>(common + Words));
  }
  if (unit[4] == unit[5]) return;
  const uint8_t* rows[64];
  int number = 0;
  for (; bits; bits &= bits - 1) rows[number++] = all.rows + row_of[__builtin_ctzll(bits)];
  for (int b = unit[4]; b < unit[5]; b++) add_block(rows, number, (b - unit[4]) * Block, to + all.blocks[b]);
}

// Adds what the spikes of a sample cause to rows [step] of `width` numbers. again: all of it once more in the step after
// the last.
inline void add_effects(const Effects& all, int sample, int width, bool again, float* to) {
  thread_local std::vector<float> sums;
  sums.assign(size_t(all.steps) * all.places, 0.0f);
  for (int u = 0; u < all.number; u++) {
    const int32_t* unit = all.units + 6 * u;
    const uint8_t* row = all.spikes + (size_t(sample) * all.positions + unit[0]) * all.steps * all.bytes + 8 * unit[1];
    float* here = sums.data();
    for (int t = 0; t < all.steps; t++, row += all.bytes, here += all.places) {
      uint64_t bits;
      memcpy(&bits, row, 8);
      if (bits) add_unit(all, unit, all.row_of + 64 * size_t(u), bits, here);
    }
  }
  float* const after = to + size_t(all.start + all.steps) * width;
  for (int t = 0; t < all.steps; t++) {
    const float* sum = sums.data() + size_t(t) * all.places;
    float* row = to + size_t(all.start + t) * width;
    for (int v = 0; v < all.places; v++) row[all.order[v]] += sum[v];
    for (int v = 0; again && v < all.places; v++) after[all.order[v]] += sum[v];
  }
}

// What handling takes, seconds: one of each load, one packet on a link, the tick (negative: there is none), and the
// sweep of every core; the compartments that a sweep is of.
struct Prices {
  int cores, loads, sent, links;  // in whole vectors but for loads; the first `sent` loads are those of a sender
  bool overlap;                   // a core sends and receives at once
  float link, tick;
  const float *load, *sweep, *swept;

  int width() const { return Words + loads * cores + links; }
  int events() const { return loads + 3; }
};

// The longest of many waits and the first of those that are equal, a vector at a time.
struct Longest {
  Real wait = lanes::splat<Real>(-1.0f);
  lanes::Word from{};

  void add(const Real& other, int first) {
    const lanes::Word longer = other > wait;
    wait = longer ? other : wait;
    from = longer ? lanes::splat<lanes::Word>(first) : from;
  }
  float seconds() const { return lanes::largest(wait); }
  int place(float seconds) const {
    lanes::Word lane;
    for (int i = 0; i < Words; i++) lane[i] = i;
    return lanes::least(wait == lanes::splat<Real>(seconds) ? from + lane : lanes::splat<lanes::Word>(INT32_MAX));
  }
};

// What the step of one row waits for: its slowest core, or side of a core, link or tick. Returns the seconds; events:
// compartments swept, loads, packets and ticks of that one alone.
inline float slowest(const Prices& prices, const float* row, float* events) {
  const float* loads = row + Words;
  const float* links = loads + size_t(prices.loads) * prices.cores;
  float longest = -1;
  int side = 0, place = 0;
  auto keep = [&](const Longest& found, int of) {
    const float seconds = found.seconds();
    if (seconds <= longest) return;
    longest = seconds;
    side = of;
    place = found.place(longest);
  };
  const int sides = prices.overlap ? 2 : 1;
  for (int s = 0; s < sides; s++) {
    const int from = s ? prices.sent : 0, to = s + 1 < sides ? prices.sent : prices.loads;
    Longest found;
    for (int c = 0; c < prices.cores; c += Words) {
      Real wait = s ? Real{} : lanes::load<Real>(prices.sweep + c);
      for (int l = from; l < to; l++)
        wait += lanes::load<Real>(loads + size_t(l) * prices.cores + c) * lanes::splat<Real>(prices.load[l]);
      found.add(wait, c);
    }
    keep(found, s);
  }
  if (prices.links) {
    Longest found;
    for (int k = 0; k < prices.links; k += Words)
      found.add(lanes::load<Real>(links + k) * lanes::splat<Real>(prices.link), k);
    keep(found, sides);
  }
  if (prices.tick > longest) {
    longest = prices.tick;
    side = sides + 1;
  }
  std::fill(events, events + prices.events(), 0.0f);
  if (side == 0) events[0] = prices.swept[place];
  for (int l = 0; l < prices.loads && side < sides; l++)
    if (side == (l < prices.sent ? 0 : sides - 1)) events[1 + l] = loads[size_t(l) * prices.cores + place];
  if (side == sides) events[1 + prices.loads] = links[place];
  if (side > sides) events[2 + prices.loads] = 1;
  return longest;
}

}  // namespace accounts
