// Currents as matrix products, however many spikes there are, on processors with matrix units (AMX).
//
// A tile is 16 steps of a target times 64 weight rows; its product with 16 lanes of weights takes one instruction. Spikes
// become bytes, of 0 or 1, once for each source position: a tap is read where they lie. Weights of 16 bits are two bytes,
// whose products are added up apart.
#pragma once

#include "fire.h"

#if defined(__AMX_INT8__) && defined(__linux__) && LANES_AVX512
#include <sys/syscall.h>
#include <unistd.h>
#define FIRE_MATRIX 1
#endif

namespace fire {

#if FIRE_MATRIX

// Whether this process may use the units: the system is asked once.
inline bool matrix_units() {
  static const bool may = syscall(SYS_arch_prctl, 0x1023, 18) == 0;  // ARCH_REQ_XCOMP_PERM for the data of tiles
  return may;
}

namespace matrix {

constexpr int Steps = 16, Depth = 64, Panel = 32;  // of a tile; lanes of two tiles

struct Heard {
  int row, source, position;
  bool operator<(const Heard& x) const {
    return row != x.row ? row < x.row : source != x.source ? source < x.source : position < x.position;
  }
};

// 16 steps of a target: what it hears, and where its steps begin in those of a source.
struct Half {
  const Heard *next, *last;
  int step;
};

struct Scratch {
  std::vector<uint8_t> weights;  // [panel, part, half of the panel, row / 4, lane, 4]
  std::vector<std::vector<uint8_t>> spikes;  // [source]: [position, step, channel]
  std::vector<int> first;                    // [target + 1]: its entries in `heard`
  std::vector<Heard> heard;
  std::vector<int32_t> sums;  // [part, step, lane] of a few targets
};

inline int whole(int number, int unit) { return (number + unit - 1) / unit * unit; }

// Bytes of a half of a panel; tiles may read behind the last row, where spikes are 0.
template <class W>
size_t half_bytes(const Layer<W>& layer) {
  return size_t(whole(layer.rows, 4) + Depth) / 4 * 64;
}

template <class W>
void pack(const Layer<W>& layer, std::vector<uint8_t>& to) {
  const size_t each = half_bytes(layer);
  to.assign(layer.lanes_all / Panel * sizeof(W) * 2 * each, 0);
  uint8_t* half = to.data();
  for (int panel = 0; panel < layer.lanes_all; panel += Panel)
    for (int part = 0; part < int(sizeof(W)); part++)
      for (int lane = panel; lane < panel + Panel; lane += 16, half += each) {
        const int block = lane / layer.lanes_block;
        const W* from = layer.weights + size_t(block) * layer.rows * layer.lanes_block + lane % layer.lanes_block;
        for (int row = 0; row < layer.rows; row++)
          for (int i = 0; i < 16; i++)
            half[size_t(row / 4) * 64 + 4 * i + row % 4] = uint8_t(from[size_t(row) * layer.lanes_block + i] >> 8 * part);
      }
}

// What every target hears, by weight row.
template <class W>
void by_target(const Layer<W>& layer, Scratch& scratch) {
  scratch.first.assign(layer.targets + 1, 0);
  int positions = 0;
  for (const Source& source : layer.sources) positions += source.positions;
  const int entries = layer.heard_from[positions];
  for (int e = 0; e < entries; e++) scratch.first[layer.heard[2 * e] + 1]++;
  for (int t = 0; t < layer.targets; t++) scratch.first[t + 1] += scratch.first[t];
  scratch.heard.resize(entries);
  std::vector<int> at(scratch.first.begin(), scratch.first.end() - 1);
  const int32_t* from = layer.heard_from;
  for (int source = 0; source < int(layer.sources.size()); source++)
    for (int q = 0; q < layer.sources[source].positions; q++, from++)
      for (int e = from[0]; e < from[1]; e++)
        scratch.heard[at[layer.heard[2 * e]]++] = {layer.heard[2 * e + 1], source, q};
  for (int t = 0; t < layer.targets; t++)
    std::sort(scratch.heard.begin() + scratch.first[t], scratch.heard.begin() + scratch.first[t + 1]);
}

// The spikes of a sample as bytes; steps and channels in whole tiles.
template <class W>
void spread(const Layer<W>& layer, int sample, Scratch& scratch) {
  const int steps = whole(layer.steps, Steps);
  scratch.spikes.resize(layer.sources.size());
  for (size_t k = 0; k < layer.sources.size(); k++) {
    const Source& source = layer.sources[k];
    const int words = source.bytes / 8;
    std::vector<uint8_t>& to = scratch.spikes[k];
    to.resize(size_t(source.positions) * steps * words * 64);
    const uint8_t* row = source.spikes + size_t(sample) * source.positions * source.steps * source.bytes;
    for (int q = 0; q < source.positions; q++) {
      uint8_t* position = to.data() + size_t(q) * steps * words * 64;
      memset(position, 0, size_t(source.late) * words * 64);
      uint8_t* here = position + size_t(source.late) * words * 64;
      for (int k = 0; k < source.steps * words; k++, row += 8, here += 64) {
        uint64_t bits;
        memcpy(&bits, row, 8);
        _mm512_storeu_si512(here, _mm512_maskz_set1_epi8(bits, 1));
      }
      memset(here, 0, position + size_t(steps) * words * 64 - here);
    }
  }
}

// Products of two times 16 steps with a panel of one part of the weights, to [half, step, lane].
template <class W, bool Signed>
void multiply(const Layer<W>& layer, const Scratch& scratch, const uint8_t* weights, Half a, Half b, int32_t* to) {
  const size_t other = half_bytes(layer);
  const int steps = whole(layer.steps, Steps);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  while (a.next < a.last || b.next < b.last) {
    auto ahead = [](const Half& x, const Half& y) {
      if (x.next == x.last) return false;
      return y.next == y.last || x.next->row < y.next->row ||
             (x.next->row == y.next->row && x.next->source <= y.next->source);
    };
    const bool of_a = ahead(a, b), of_b = ahead(b, a);
    const Heard& heard = of_a ? *a.next : *b.next;
    const int depth = layer.sources[heard.source].bytes * 8;
    const uint8_t* spikes = scratch.spikes[heard.source].data();
    auto at = [&](const Half& x) { return spikes + (size_t(x.next->position) * steps + x.step) * depth; };
    const uint8_t *from_a = of_a ? at(a) : nullptr, *from_b = of_b ? at(b) : nullptr;
    if (!of_a) _tile_zero(4);
    if (!of_b) _tile_zero(5);
    for (int c = 0; c < depth; c += Depth) {
      const uint8_t* row = weights + size_t(heard.row + c) / 4 * 64;
      if (of_a) _tile_loadd(4, from_a + c, depth);
      if (of_b) _tile_loadd(5, from_b + c, depth);
      _tile_loadd(6, row, 64);
      _tile_loadd(7, row + other, 64);
      if constexpr (Signed) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      } else {
        _tile_dpbuud(0, 4, 6);
        _tile_dpbuud(1, 4, 7);
        _tile_dpbuud(2, 5, 6);
        _tile_dpbuud(3, 5, 7);
      }
    }
    a.next += of_a;
    b.next += of_b;
  }
  _tile_stored(0, to, 4 * Panel);
  _tile_stored(1, to + Panel / 2, 4 * Panel);
  _tile_stored(2, to + Steps * Panel, 4 * Panel);
  _tile_stored(3, to + Steps * Panel + Panel / 2, 4 * Panel);
}

}  // namespace matrix

// All targets of some samples.
template <class W>
void by_matrix(const Layer<W>& layer, int begin, int end, matrix::Scratch& scratch) {
  using namespace matrix;
  constexpr int Parts = sizeof(W);
  const int tiles = whole(layer.steps, Steps) / Steps, together = tiles == 1 ? 2 : 1;  // of a target; targets
  alignas(64) uint8_t shape[64] = {1};
  for (int i = 0; i < 8; i++) {
    shape[16 + 2 * i] = 64;  // bytes of a row
    shape[48 + i] = 16;      // rows
  }
  _tile_loadconfig(shape);
  pack(layer, scratch.weights);
  by_target(layer, scratch);
  const size_t part = size_t(whole(together * tiles, 2)) * Steps * Panel;
  scratch.sums.resize(Parts * part);
  for (int s = begin; s < end; s++) {
    spread(layer, s, scratch);
    for (int lane = 0; lane < layer.lanes_all; lane += Panel)
      for (int target = 0; target < layer.targets; target += together) {
        const int number = std::min(together, layer.targets - target);
        auto half = [&](int tile) -> Half {
          if (tile >= number * tiles) return {nullptr, nullptr, 0};
          const int of = target + tile / tiles;
          return {scratch.heard.data() + scratch.first[of], scratch.heard.data() + scratch.first[of + 1],
                  tile % tiles * Steps};
        };
        const uint8_t* weights = scratch.weights.data() + size_t(lane / Panel) * Parts * 2 * half_bytes(layer);
        for (int tile = 0; tile < number * tiles; tile += 2) {
          int32_t* to = scratch.sums.data() + size_t(tile) * Steps * Panel;
          if constexpr (Parts == 2)
            multiply<W, false>(layer, scratch, weights, half(tile), half(tile + 1), to);
          multiply<W, true>(layer, scratch, weights + (Parts - 1) * 2 * half_bytes(layer), half(tile), half(tile + 1),
                            to + (Parts - 1) * part);
        }
        for (int k = 0; k < number; k++) {
          const int32_t* sums = scratch.sums.data() + size_t(k) * tiles * Steps * Panel;
          dynamics<W, 1>(layer, s, target + k, lane, [&](int t, lanes::Word* v) {
            for (int i = 0; i < 2; i++) {
              const int32_t* from = sums + t * Panel + i * lanes::Words;
              v[i] += lanes::load<lanes::Word>(from);
              if constexpr (Parts == 2) v[i] += lanes::load<lanes::Word>(from + part) << 8;
            }
            return true;
          });
        }
      }
  }
  _tile_release();
}

#endif

}  // namespace fire
