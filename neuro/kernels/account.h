// What spikes cause on the cores and links of a placed network, and which of them every step waits for.
//
// All of it is linear in the spikes, and many neurons cause the same: a sample is first brought down to a few sums for
// every step, such as the spikes of each group of neurons (neuro/grouped.py). Sums that mean the same to cores have a
// total. What a core or link handles is a column of the table of what one of each sum or total comes to
// (neuro/tally.py). Sums are rows of the steps in which their population runs, side by side in vectors; columns are
// rows of all steps of a sample. Samples that are under way at the same time are added up as columns.
#pragma once

#include <algorithm>
#include <vector>

#include "lanes.h"

namespace accounts {

using lanes::Real;
using lanes::Word;
constexpr int Words = lanes::Words;

// The spikes of a population and its `sums`: rows of `pitch` steps, from `row` on; the first step is the sample's
// `start`.
struct Train {
  const uint8_t* spikes;  // [sample, position, step, byte]
  int positions, steps, bytes, start, row, pitch, sums, runs;
  const int32_t* unit;  // [unit, 3]: which word of all positions, its bits (low, high)
  const int32_t* run;   // [run, 3]: sum, amount, last unit
};

inline void add(float* to, const Real& more) { lanes::store(to, lanes::load<Real>(to) + more); }

// Adds the spikes of all units to sums [sum, step], in `Vectors` vectors of steps. words: [word, step].
template <int Vectors>
inline void add_units(const Train& train, const uint64_t* words, int pitch, float* sums) {
  const int32_t* unit = train.unit;
  for (const int32_t* run = train.run; run < train.run + 3 * size_t(train.runs); run += 3) {
    lanes::Long spikes[Vectors]{};
    for (const int32_t* const end = train.unit + 3 * size_t(run[2]); unit < end; unit += 3) {
      const uint64_t* from = words + size_t(unit[0]) * pitch;
      const lanes::Long mask = lanes::splat<lanes::Long>(int64_t(uint32_t(unit[1]) | uint64_t(unit[2]) << 32));
      for (int v = 0; v < Vectors; v++)
        spikes[v] += lanes::ones(lanes::load<lanes::Long>(from + v * lanes::Longs) & mask);
    }
    float* const to = sums + size_t(run[0]) * train.pitch;
    for (int v = 0; v < Vectors; v++) {
      const auto more = __builtin_convertvector(spikes[v], lanes::HalfReal) * float(run[1]);
      lanes::store(to + v * lanes::Longs, lanes::load<lanes::HalfReal>(to + v * lanes::Longs) + more);
    }
  }
}

// Brings a sample down to its sums [sum, step]. again: all of it once more in the step after the last.
inline void add_sums(const Train& train, int sample, bool again, float* rows) {
  const int pitch = (train.steps + Words - 1) / Words * Words, words_each = train.bytes / 8;
  const uint8_t* row = train.spikes + size_t(sample) * train.positions * train.steps * train.bytes;
  const uint64_t* words = reinterpret_cast<const uint64_t*>(row);  // [position, word, step]
  if (words_each > 1 || train.steps < pitch) {
    thread_local std::vector<uint64_t> turned;
    turned.resize(size_t(train.positions) * words_each * pitch);
    const size_t each = size_t(train.steps) * train.bytes;  // of a position
    for (uint64_t* to = turned.data(); to < turned.data() + turned.size(); row += each)
      for (int w = 0; w < words_each; w++, to += pitch) {
        for (int t = 0; t < train.steps; t++) memcpy(to + t, row + size_t(t) * train.bytes + 8 * w, 8);
        std::fill(to + train.steps, to + pitch, 0);
      }
    words = turned.data();
  }
  float* const mine = rows + train.row;
  std::fill_n(mine, size_t(train.sums) * train.pitch, 0.0f);
  constexpr int Most = 4;
  int t = 0;
  for (; t + Most * lanes::Longs <= pitch; t += Most * lanes::Longs)
    add_units<Most>(train, words + t, pitch, mine + t);
  for (; t < pitch; t += Words) add_units<2>(train, words + t, pitch, mine + t);
  for (int k = 0; again && k < train.sums; k++) {
    float* of = mine + size_t(k) * train.pitch;
    for (int step = 0; step < train.steps; step++) of[train.steps] += of[step];
  }
}

// Weighted sums: what is handled somewhere. A column is a row of segments, each of entries of one population; the
// first column is empty, and the last are those of links.
struct Columns {
  int number, links;
  const int32_t *first, *segments;  // [column + 1]; [segment, 3]: population, entries (first, last)
  const int32_t* row;               // [entry]: where its sum or total begins
  const float* amount;
  struct Own { int start, pitch; };  // steps of a population's rows: the first, and how many
  std::vector<Own> runs;             // [population]; the last is of what comes of no spikes

  // A column of a sample from its rows into a row of all steps, which may go on with zeros.
  void take(int column, const float* rows, float* to) const {
    for (const int32_t* s = segments + 3 * first[column]; s < segments + 3 * first[column + 1]; s += 3) {
      constexpr int Most = 4;
      const int vectors = runs[s[0]].pitch / Words;
      float* const at = to + runs[s[0]].start;
      int v = 0;
      for (; v + Most <= vectors; v += Most) part<Most>(s[1], s[2], rows + v * Words, at + v * Words);
      for (; v + 2 <= vectors; v += 2) part<2>(s[1], s[2], rows + v * Words, at + v * Words);
      if (v < vectors) part<1>(s[1], s[2], rows + v * Words, at + v * Words);
    }
  }

  // What entries come to in `Vectors` vectors of steps, added to those of the column.
  template <int Vectors>
  void part(int e, int last, const float* rows, float* to) const {
    Real value[Vectors]{};
    for (; e < last; e++) {
      const Real times = lanes::splat<Real>(amount[e]);
      for (int v = 0; v < Vectors; v++) value[v] += lanes::load<Real>(rows + row[e] + v * Words) * times;
    }
    for (int v = 0; v < Vectors; v++) add(to + v * Words, value[v]);
  }
};

// What handling takes, seconds: one of each load, one packet on a link, the tick (negative: there is none), and the
// sweep of every core; the compartments that a sweep is of.
struct Prices {
  int cores, loads, sent;  // the first `sent` loads are those of a sender
  bool overlap;            // a core sends and receives at once
  float link, tick;
  const float *load, *sweep, *swept;
  const int32_t* of_core;            // columns [load, core]
  const int32_t *bounds, *bounding;  // [link + 1]; [bound]: a column: a link carries no more than what these hold,
  const float* times;                // [bound]: so many times

  int events() const { return loads + 3; }
};

// What each step of a vector waits for: its slowest core, or side of a core, link or tick, the first of those that
// are equal. value(column) and link(which): what is handled in the steps of the vector. waits [lane]: seconds. events
// [lane, event]: compartments swept, loads, packets, ticks of that one alone.
template <class Value, class Link>
inline void slowest(const Prices& prices, const Columns& columns, Value&& value, Link&& link, float* waits,
                    float* events) {
  Real longest = lanes::splat<Real>(-1.0f);
  Word from{};
  auto keep = [&](const Real& wait, int32_t which) {
    const Word longer = wait > longest;
    longest = longer ? wait : longest;
    from = longer ? lanes::splat<Word>(which) : from;
  };
  const int sides = prices.overlap ? 2 : 1, links = sides * prices.cores;
  for (int s = 0; s < sides; s++) {
    const int begin = s ? prices.sent : 0, end = s + 1 < sides ? prices.sent : prices.loads;
    for (int c = 0; c < prices.cores; c++) {
      Real wait = s ? Real{} : lanes::splat<Real>(prices.sweep[c]);
      for (int l = begin; l < end; l++)
        wait += value(prices.of_core[size_t(l) * prices.cores + c]) * lanes::splat<Real>(prices.load[l]);
      keep(wait, s * prices.cores + c);
    }
  }
  const Real price = lanes::splat<Real>(prices.link);
  for (int k = 0; k < columns.links; k++) {
    Real most{};
    for (int b = prices.bounds[k]; b < prices.bounds[k + 1]; b++)
      most += value(prices.bounding[b]) * lanes::splat<Real>(prices.times[b]);
    most *= price * lanes::splat<Real>(1.001f);  // room for the last bits, in which sums of another order differ
    if (prices.bounds[k] < prices.bounds[k + 1] && !lanes::any(most > longest)) continue;
    keep(link(k) * price, links + k);
  }
  keep(lanes::splat<Real>(prices.tick), links + columns.links);
  lanes::store(waits, longest);
  std::fill(events, events + size_t(Words) * prices.events(), 0.0f);
  for (int i = 0; i < Words; i++, events += prices.events()) {
    const int at = from[i], side = at >= prices.cores, core = at - side * prices.cores;  // unless it is a link
    if (at >= links) {
      const bool tick = at == links + columns.links;
      events[1 + prices.loads + tick] = tick ? 1.0f : link(at - links)[i];
      continue;
    }
    if (side == 0) events[0] = prices.swept[core];
    for (int l = 0; l < prices.loads; l++)
      if (side == (l < prices.sent ? 0 : sides - 1))
        events[1 + l] = value(prices.of_core[size_t(l) * prices.cores + core])[i];
  }
}

}  // namespace accounts
