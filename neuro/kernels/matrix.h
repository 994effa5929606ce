// Currents as matrix products, however many spikes there are, on processors with matrix units (AMX).
//
// A tile is 16 steps of a target times 64 weight rows, or 32 of float32; its product with 16 lanes of weights takes one
// instruction. Spikes become numbers, 0 or 1, once for each source position: a tap is read where they lie. Weights of
// 16 bits are two bytes, whose products are added up apart; those of float32 are three numbers of 8 bits each.
#pragma once

#include "fire.h"

#if defined(__AMX_INT8__) && defined(__AMX_BF16__) && defined(__linux__) && LANES_AVX512
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

constexpr int Steps = 16, Panel = 32;  // of a tile; lanes of two tiles

// How weights are taken apart: Parts, each of which lies in groups of Each rows, lane by lane; their products are added
// up in so many Sums.
template <class W>
struct Form {
  using Spike = uint8_t;
  using Sum = int32_t;
  static constexpr int Parts = sizeof(W), Sums = Parts, Each = 4;
  static uint32_t part(W weight, int which) { return uint8_t(weight >> 8 * which); }
};

template <>
struct Form<float> {
  using Spike = uint16_t;  // bfloat16: the upper half of a float
  using Sum = float;
  static constexpr int Parts = 3, Sums = 1, Each = 2;
  static uint32_t part(float weight, int which) {
    uint32_t bits;
    for (; memcpy(&bits, &weight, 4), which; which--) {
      bits &= 0xffff0000;
      float upper;
      memcpy(&upper, &bits, 4);
      weight -= upper;
    }
    return bits >> 16;
  }
};

template <class W>
constexpr int Depth = 64 / sizeof(typename Form<W>::Spike);  // rows of a tile

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

template <class W>
struct Scratch {
  std::vector<uint8_t> weights;  // [panel, part, half of the panel, group of rows, lane, Each]
  std::vector<std::vector<typename Form<W>::Spike>> spikes;  // [source]: [position, step, channel]
  std::vector<int> first;                                    // [target + 1]: its entries in `heard`
  std::vector<Heard> heard;
  std::vector<typename Form<W>::Sum> sums;  // [part, step, lane] of a few targets
};

inline int whole(int number, int unit) { return (number + unit - 1) / unit * unit; }

// Bytes of a half of a panel. A source has whole words of channels, but rows only for those that there are: its last
// tiles may begin behind the last row, where spikes are 0.
template <class W>
size_t half_bytes(const Layer<W>& layer) {
  return size_t(whole(layer.rows, Form<W>::Each) + 64) / Form<W>::Each * 64;
}

template <class W>
void pack(const Layer<W>& layer, std::vector<uint8_t>& to) {
  constexpr int Each = Form<W>::Each;
  const size_t each = half_bytes(layer);
  to.assign(size_t(whole(layer.lanes_all, Panel) / Panel) * Form<W>::Parts * 2 * each, 0);
  uint8_t* half = to.data();
  for (int panel = 0; panel < layer.lanes_all; panel += Panel)
    for (int part = 0; part < Form<W>::Parts; part++)
      for (int lane = panel; lane < panel + Panel; lane += 16, half += each) {
        if (lane >= layer.lanes_all) continue;
        const int block = lane / layer.lanes_block;
        const W* from = layer.weights + size_t(block) * layer.rows * layer.lanes_block + lane % layer.lanes_block;
        for (int row = 0; row < layer.rows; row += Each) {
          uint32_t group[16] = {};
          for (int q = 0; q < std::min(Each, layer.rows - row); q++)
            for (int i = 0; i < 16; i++)
              group[i] |= Form<W>::part(from[size_t(row + q) * layer.lanes_block + i], part) << 32 / Each * q;
          memcpy(half + size_t(row / Each) * 64, group, sizeof group);
        }
      }
}

// What every target hears, by weight row.
template <class W>
void by_target(const Layer<W>& layer, Scratch<W>& scratch) {
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

// The spikes of a sample as numbers; steps and channels in whole tiles.
template <class W>
void spread(const Layer<W>& layer, int sample, Scratch<W>& scratch) {
  using Spike = typename Form<W>::Spike;
  const int steps = whole(layer.steps, Steps);
  scratch.spikes.resize(layer.sources.size());
  for (size_t k = 0; k < layer.sources.size(); k++) {
    const Source& source = layer.sources[k];
    const int words = source.bytes / 8;
    std::vector<Spike>& to = scratch.spikes[k];
    to.resize(size_t(source.positions) * steps * words * 64);
    const uint8_t* row = source.spikes + size_t(sample) * source.positions * source.steps * source.bytes;
    for (int q = 0; q < source.positions; q++) {
      Spike* const position = to.data() + size_t(q) * steps * words * 64;
      Spike* const begin = position + size_t(source.late) * words * 64;
      Spike* here = begin;
      for (int word = 0; word < source.steps * words; word++, row += 8, here += 64) {
        uint64_t bits;
        memcpy(&bits, row, 8);
        if constexpr (sizeof(Spike) == 1) {
          _mm512_storeu_si512(here, _mm512_maskz_set1_epi8(bits, 1));
        } else {
          _mm512_storeu_si512(here, _mm512_maskz_set1_epi16(uint32_t(bits), 0x3f80));
          _mm512_storeu_si512(here + 32, _mm512_maskz_set1_epi16(uint32_t(bits >> 32), 0x3f80));
        }
      }
      std::fill(position, begin, Spike(0));
      std::fill(here, position + size_t(steps) * words * 64, Spike(0));
    }
  }
}

// Adds the products of tiles 4, 5 (spikes) and 6, 7 (weights) to tiles 0 to 3. Last: whether weights are signed bytes.
// The compiler wants the numbers of tiles as they are written.
template <class W, bool Last>
inline void add_products() {
  if constexpr (std::is_same_v<W, float>) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  } else if constexpr (Last) {
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

// Products of two times 16 steps with what of a panel of weights belongs to one sum, to [half, step, lane].
template <class W, bool Last>
void multiply(const Layer<W>& layer, const Scratch<W>& scratch, const uint8_t* weights, Half a, Half b,
              typename Form<W>::Sum* to) {
  using Spike = typename Form<W>::Spike;
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
    const Spike* spikes = scratch.spikes[heard.source].data();
    auto at = [&](const Half& x) { return spikes + (size_t(x.next->position) * steps + x.step) * depth; };
    const Spike *from_a = of_a ? at(a) : nullptr, *from_b = of_b ? at(b) : nullptr;
    if (!of_a) _tile_zero(4);
    if (!of_b) _tile_zero(5);
    for (int c = 0; c < depth; c += Depth<W>) {
      const uint8_t* row = weights + size_t(heard.row + c) / Form<W>::Each * 64;
      if (of_a) _tile_loadd(4, from_a + c, depth * sizeof(Spike));
      if (of_b) _tile_loadd(5, from_b + c, depth * sizeof(Spike));
      for (int part = 0; part < Form<W>::Parts / Form<W>::Sums; part++, row += 2 * other) {
        _tile_loadd(6, row, 64);
        _tile_loadd(7, row + other, 64);
        add_products<W, Last>();
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
void by_matrix(const Layer<W>& layer, int begin, int end, matrix::Scratch<W>& scratch) {
  using namespace matrix;
  using State = typename Kind<W>::State;
  constexpr int Parts = Form<W>::Parts, Sums = Form<W>::Sums;
  constexpr int Lanes = Kind<W>::Wide * lanes::Words;  // of neurons that are updated together
  const int tiles = whole(layer.steps, Steps) / Steps, together = tiles == 1 ? 2 : 1;  // of a target; targets
  alignas(64) uint8_t shape[64] = {1};
  for (int i = 0; i < 8; i++) {
    shape[16 + 2 * i] = 64;  // bytes of a row
    shape[48 + i] = 16;      // rows
  }
  _tile_loadconfig(shape);
  pack(layer, scratch.weights);
  by_target(layer, scratch);
  const size_t each = size_t(whole(together * tiles, 2)) * Steps * Panel, half_panel = half_bytes(layer);
  scratch.sums.resize(Sums * each);
  for (int s = begin; s < end; s++) {
    spread(layer, s, scratch);
    for (int panel = 0; panel < layer.lanes_all; panel += Panel)
      for (int target = 0; target < layer.targets; target += together) {
        const int number = std::min(together, layer.targets - target);
        auto half = [&](int tile) -> Half {
          if (tile >= number * tiles) return {nullptr, nullptr, 0};
          const int* of = scratch.first.data() + target + tile / tiles;
          return {scratch.heard.data() + of[0], scratch.heard.data() + of[1], tile % tiles * Steps};
        };
        const uint8_t* weights = scratch.weights.data() + size_t(panel / Panel) * Parts * 2 * half_panel;
        for (int tile = 0; tile < number * tiles; tile += 2) {
          auto* to = scratch.sums.data() + size_t(tile) * Steps * Panel;
          if constexpr (Sums == 2)
            multiply<W, false>(layer, scratch, weights, half(tile), half(tile + 1), to);
          multiply<W, true>(layer, scratch, weights + (Sums - 1) * 2 * half_panel, half(tile), half(tile + 1),
                            to + (Sums - 1) * each);
        }
        for (int k = 0; k < number; k++)
          for (int lane = panel; lane < std::min(panel + Panel, layer.lanes_all); lane += Lanes) {
            const auto* sums = scratch.sums.data() + size_t(k) * tiles * Steps * Panel + (lane - panel);
            dynamics<W, 1>(layer, s, target + k, lane, [&](int t, State* v) {
              for (int i = 0; i < Kind<W>::Wide; i++) {
                const auto* from = sums + t * Panel + i * lanes::Words;
                v[i] += lanes::load<State>(from);
                if constexpr (Sums == 2) v[i] += lanes::load<State>(from + each) << 8;
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
