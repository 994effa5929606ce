// Sums of weight rows selected by bits, without asking which bits: tables of every sum of four rows.
#pragma once

#include "fire.h"

namespace fire {

constexpr int Groups = 24;  // of four rows: the tables of one vector of lanes then fill three quarters of a 32 KB cache
constexpr int Tile = 1024;  // rows whose sums are held at a time

// The bit row of every (row, step) of a tile: bit k is set if weight row k is to be added. Blocks begin at whole bytes.
template <class W>
void bit_rows(const Layer<W>& layer, int sample, int first, int last, int bytes, uint8_t* to) {
  memset(to, 0, size_t(last - first) * layer.steps * bytes);
  const int32_t* from = layer.heard_from;
  for (const Source& source : layer.sources)
    for (int q = 0; q < source.positions; q++, from++)
      for (int e = from[0]; e < from[1]; e++) {
        const int target = layer.heard[2 * e], byte = layer.heard[2 * e + 1] / 8;
        if (target < first || target >= last) continue;
        const int used = std::min(source.bytes, bytes - byte);
        const uint8_t* row = source.spikes + (size_t(sample) * source.positions + q) * source.steps * source.bytes;
        uint8_t* here = to + (size_t(target - first) * layer.steps + source.late) * bytes + byte;
        for (int t = 0; t < source.steps; t++)
          for (int k = 0; k < used; k++) here[size_t(t) * bytes + k] |= row[size_t(t) * source.bytes + k];
      }
}

// Targets first..last of one sample, whose bit rows are `bits`.
template <class W>
void by_lookup(const Layer<W>& layer, int sample, int first, int last, int bytes, const uint8_t* bits) {
  using Total = typename Kind<W>::Total;
  using State = typename Kind<W>::State;
  constexpr int Width = sizeof(Total) / (std::is_same_v<W, float> ? 4 : 2), Wide = Kind<W>::Wide;
  const int rows = (last - first) * layer.steps;
  thread_local std::vector<State> sums;
  sums.resize(size_t(rows) * Wide);
  alignas(64) thread_local Total table[Groups * 16];
  for (int lane = 0; lane < layer.lanes_all; lane += Width) {
    const int block = lane / layer.lanes_block;
    const W* weights =
        layer.weights + size_t(block) * layer.rows * layer.lanes_block + (lane - block * layer.lanes_block);
    std::fill(sums.begin(), sums.end(), State{});
    for (int row = 0; row < layer.rows; row += 4 * Groups) {
      const int groups = std::min(Groups, (layer.rows - row + 3) / 4), pairs = (groups + 1) / 2;
      for (int g = 0; g < 2 * pairs; g++) {
        Total* sum = table + 16 * g;
        sum[0] = Total{};
        for (int q = 0; q < 4; q++) {
          const int r = row + 4 * g + q;
          Total w{};
          if (r < layer.rows) {
            const W* from = weights + size_t(r) * layer.lanes_block;
            if constexpr (std::is_same_v<W, float>)
              w = lanes::load<Total>(from);
            else
              w = lanes::widened(from);
          }
          for (int i = 0; i < 1 << q; i++) sum[(1 << q) + i] = sum[i] + w;
        }
      }
      const uint8_t* here = bits + row / 8;
      for (int r = 0; r < rows; r++, here += bytes) {
        Total low{}, high{};
        auto add = [&](int pair) {
          const unsigned byte = here[pair];
          low += table[32 * pair + (byte & 15)];
          high += table[32 * pair + 16 + (byte >> 4)];
        };
        if (pairs == Groups / 2)
#pragma GCC unroll 12
          for (int pair = 0; pair < Groups / 2; pair++) add(pair);
        else
          for (int pair = 0; pair < pairs; pair++) add(pair);
        const Total sum = low + high;
        flush<W, 1>(sums.data() + size_t(r) * Wide, &sum);
      }
    }
    for (int target = first; target < last; target++)
      dynamics<W, 1>(layer, sample, target, lane, [&](int t, State* v) {
        for (int i = 0; i < Wide; i++) v[i] += sums[(size_t(target - first) * layer.steps + t) * Wide + i];
        return true;
      });
  }
}

}  // namespace fire
