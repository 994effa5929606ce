// Sums of the weight rows of the spikes that there are: lists of rows, one for each step of a target.
#pragma once

#include "fire.h"

namespace fire {

// Spikes of one source position in all its steps.
struct Trace {
  std::vector<uint32_t> step, from, number;  // steps with spikes: where their channels begin in `channel`, and how many
  std::vector<uint16_t> channel;
};

// Spikes of a tile as lists of weight rows, one list for each (row, step): `length` of them, up to `end`.
struct Lists {
  std::vector<uint32_t> end, length;
  std::vector<uint16_t> rows;
  size_t events = 0;
  std::vector<uint32_t> ones;  // spikes of every source row, in order
  Trace found;                 // of the source position at hand
};

typedef uint16_t Copy __attribute__((vector_size(32)));
constexpr int Copied = 16;  // indices that are copied at a time: a list may be overrun by so many, less one

// Whose spikes `row` holds [step, byte], of which step t has `ones[t]`.
inline void trace(const uint8_t* row, int steps, int bytes, const uint32_t* ones, Trace& found) {
  found.step.resize(steps);
  size_t active = 0, spikes = 0;
  for (int t = 0; t < steps; t++) {
    found.step[active] = uint32_t(t);
    active += ones[t] != 0;
    spikes += ones[t];
  }
  found.step.resize(active);
  found.from.resize(active);
  found.number.resize(active);
  if (found.channel.size() < spikes + lanes::Slack) found.channel.resize(spikes + lanes::Slack);
  uint16_t* to = found.channel.data();
  for (size_t i = 0; i < active; i++) {
    const uint32_t t = found.step[i];
    found.from[i] = uint32_t(to - found.channel.data());
    found.number[i] = ones[t];
    to = lanes::indices(row + size_t(t) * bytes, bytes / 8, 0, to);
  }
}

// Appends what `trace` found to the lists `at` of a target, as weight rows from `first` on.
inline void append(const Trace& found, uint16_t first, uint32_t* at, uint16_t* rows) {
  const size_t active = found.step.size();
  const uint32_t *step = found.step.data(), *from = found.from.data(), *number = found.number.data();
  const uint16_t* channel = found.channel.data();
  for (size_t k = 0; k < active; k++) {
    const uint16_t* x = channel + from[k];
    uint16_t* to = rows + at[step[k]];
    const uint32_t spikes = number[k];
    at[step[k]] += spikes;
    for (uint32_t i = 0; i < spikes; i += Copied) lanes::store(to + i, lanes::load<Copy>(x + i) + first);
  }
}

inline void add(uint32_t* to, const uint32_t* x, int number) {
  typedef uint32_t Numbers __attribute__((vector_size(32)));
  int i = 0;
  for (; i + 8 <= number; i += 8) lanes::store(to + i, lanes::load<Numbers>(to + i) + lanes::load<Numbers>(x + i));
  for (; i < number; i++) to[i] += x[i];
}

// Counts the spikes of samples `begin`..`end` of a layer, or with many targets one sample; target r of sample s is row
// (s - begin) * targets + r.
template <class W>
void count(const Layer<W>& layer, int begin, int end, Lists& lists) {
  const int steps = layer.steps, targets = layer.targets;
  const int32_t* const heard = layer.heard;
  lists.length.assign(size_t(end - begin) * targets * steps, 0);
  size_t each = 0;
  for (const Source& source : layer.sources) each += size_t(source.positions) * source.steps;
  lists.ones.resize((end - begin) * each);
  uint32_t* number = lists.ones.data();
  for (int s = begin; s < end; s++) {
    const int32_t* from = layer.heard_from;
    uint32_t* const own = lists.length.data() + size_t(s - begin) * targets * steps;
    for (const Source& source : layer.sources) {
      const int bytes = source.bytes, count = source.steps, late = source.late;
      const uint8_t* row = source.spikes + size_t(s) * source.positions * count * bytes;
      for (int q = 0; q < source.positions; q++, from++, number += count) {
        uint32_t any = 0;
        for (int t = 0; t < count; t++, row += bytes) any |= number[t] = uint32_t(lanes::ones(row, bytes / 8));
        for (int e = any ? from[0] : from[1]; e < from[1]; e++)
          add(own + size_t(heard[2 * e]) * steps + late, number, count);
      }
    }
  }
  lists.events = 0;
  for (const uint32_t length : lists.length) lists.events += length;
}

// Fills the lists of what `count` counted.
template <class W>
void gather(const Layer<W>& layer, int begin, int end, Lists& lists) {
  const int steps = layer.steps, targets = layer.targets;
  const int32_t* const heard = layer.heard;
  const size_t slots = lists.length.size();
  lists.end.resize(slots);
  size_t end_of = 0;
  for (size_t slot = 0; slot < slots; slot++) {
    lists.end[slot] = uint32_t(end_of);
    if (lists.length[slot]) end_of += lists.length[slot] + Copied;
  }
  if (lists.rows.size() < end_of + lanes::Slack) lists.rows.resize(end_of + lanes::Slack);
  const uint32_t* number = lists.ones.data();
  for (int s = begin; s < end; s++) {
    const int32_t* from = layer.heard_from;
    uint32_t* const own = lists.end.data() + size_t(s - begin) * targets * steps;
    for (const Source& source : layer.sources) {
      const int bytes = source.bytes, count = source.steps;
      const uint8_t* row = source.spikes + size_t(s) * source.positions * count * bytes;
      for (int q = 0; q < source.positions; q++, from++, number += count, row += size_t(count) * bytes) {
        if (from[0] == from[1]) continue;
        trace(row, count, bytes, number, lists.found);
        for (int e = from[0]; e < from[1]; e++) {
          uint32_t* at = own + size_t(heard[2 * e]) * steps + source.late;
          append(lists.found, uint16_t(heard[2 * e + 1]), at, lists.rows.data());
        }
      }
    }
  }
}

// The sums of the weight rows of some events, `rows` of N vectors of 16 bits or float.
template <class W, int N>
inline void sum(const W* rows, const uint16_t* event, const uint16_t* end, typename Kind<W>::Total* x) {
  using Total = typename Kind<W>::Total;
  constexpr bool real = std::is_same_v<W, float>;
  constexpr int Width = sizeof(Total) / (real ? 4 : 2), Block = N * Width;
  if constexpr (std::is_same_v<W, int8_t> && N % 2 == 0) {
    const auto at = [&](int i, const W* row) { return lanes::load<lanes::Quarter>(row + i * lanes::Bytes); };
    for (; event + 1 < end; event += 2) {
      const W *a = rows + size_t(event[0]) * Block, *b = rows + size_t(event[1]) * Block;
      for (int i = 0; i < N / 2; i++) lanes::add_rows(x[2 * i], x[2 * i + 1], at(i, a), at(i, b));
    }
    if (event < end) {
      const W* a = rows + size_t(event[0]) * Block;
      for (int i = 0; i < N / 2; i++) lanes::add_rows(x[2 * i], x[2 * i + 1], at(i, a), lanes::Quarter{});
    }
    for (int i = 0; i < N / 2; i++) lanes::ordered(x[2 * i], x[2 * i + 1]);
  } else
    for (; event < end; event++) {
      const W* row = rows + size_t(*event) * Block;
      for (int i = 0; i < N; i++)
        if constexpr (real)
          x[i] += lanes::load<Total>(row + i * Width);
        else
          x[i] += lanes::widened(row + i * Width);
    }
}

template <class W, int N>
void by_events(const Layer<W>& layer, int begin, int end, const Lists& lists) {
  using Total = typename Kind<W>::Total;
  constexpr int Block = N * sizeof(Total) / (std::is_same_v<W, float> ? 4 : 2);
  const int targets = layer.targets, chunk = std::is_same_v<W, float> ? 1 << 30 : layer.chunk;
  for (int lane = 0; lane < layer.lanes_all; lane += Block) {
    const W* weights = layer.weights + size_t(lane) * layer.rows;
    for (int s = begin; s < end; s++)
      for (int target = 0; target < targets; target++) {
        const size_t slot = (size_t(s - begin) * targets + target) * layer.steps;
        dynamics<W, N>(layer, s, target, lane, [&](int t, typename Kind<W>::State* v) {
          const uint16_t* const last = lists.rows.data() + lists.end[slot + t];
          const uint16_t* event = last - lists.length[slot + t];
          if (event == last) return false;
          do {
            const uint16_t* const until = last - event > chunk ? event + chunk : last;
            Total x[N] = {};
            sum<W, N>(weights, event, until, x);
            flush<W, N>(v, x);
            event = until;
          } while (event < last);
          return true;
        });
      }
  }
}

}  // namespace fire
