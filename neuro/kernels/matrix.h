// Currents as matrix products, however many spikes there are, on processors with matrix units (AMX).
//
// A tile is 16 steps of a target times 64 weight rows, or 32 of float32; its product with 16 lanes of weights takes one
// instruction. Spikes become numbers, 0 or 1, once for each source position: a tap is read where they lie. Weights of
// 16 bits are two bytes, whose products are added up apart; those of float32 are three numbers of 8 bits each.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>

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
constexpr size_t Near = 1 << 20;       // bytes: half of the second cache

// How weights are taken apart: Parts, each of which lies in groups of Each rows, lane by lane; their products are added
// up in so many Sums.
template <class W>
struct Form {
  using Spike = uint8_t;
  using Sum = int32_t;
  static constexpr int Parts = sizeof(W), Sums = Parts, Each = 4;
  template <int Which>
  static uint32_t part(W weight) {
    return uint8_t(weight >> 8 * Which);
  }
};

template <>
struct Form<float> {
  using Spike = uint16_t;  // bfloat16: the upper half of a float
  using Sum = float;
  static constexpr int Parts = 3, Sums = 1, Each = 2;
  template <int Which>
  static uint32_t part(float weight) {
    uint32_t bits;
    memcpy(&bits, &weight, 4);
    if constexpr (Which == 0) return bits >> 16;
    bits &= 0xffff0000;
    float upper;
    memcpy(&upper, &bits, 4);
    return part<Which - (Which > 0)>(weight - upper);
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

// 16 steps of a target: what it hears, and which steps these are.
struct Half {
  const Heard *next, *last;
  int tile;
};

template <class W>
struct Scratch {
  std::vector<std::vector<typename Form<W>::Spike>> spikes;  // [source]: [sample, position, step, channel]
  std::vector<typename Form<W>::Sum> sums;                   // [part, step, lane] of a few targets
};

inline int whole(int number, int unit) { return (number + unit - 1) / unit * unit; }

// Bytes of a half of a panel. A source has whole words of channels, but rows only for those that there are: its last
// tiles may begin behind the last row, where spikes are 0.
template <class W>
size_t half_bytes(const Layer<W>& layer) {
  return size_t(whole(layer.rows, Form<W>::Each) + 64) / Form<W>::Each * 64;
}

// One part of 16 lanes of weights, zero behind the last row and the last lane.
template <class W, int Part>
void pack_part(const Layer<W>& layer, int lane, uint8_t* to) {
  constexpr int Each = Form<W>::Each;
  uint8_t* const end = to + half_bytes(layer);
  const int block = lane / layer.lanes_block;
  const W* from = layer.weights + size_t(block) * layer.rows * layer.lanes_block + lane % layer.lanes_block;
  if (lane < layer.lanes_all)
    for (int row = 0; row < layer.rows; row += Each, to += 64) {
      uint32_t group[16] = {};
      for (int q = 0; q < std::min(Each, layer.rows - row); q++, from += layer.lanes_block)
        for (int i = 0; i < 16; i++) group[i] |= Form<W>::template part<Part>(from[i]) << 32 / Each * q;
      memcpy(to, group, sizeof group);
    }
  std::fill(to, end, uint8_t(0));
}

template <class W>
void pack(const Layer<W>& layer, int lane, uint8_t* panels) {
  const size_t each = half_bytes(layer);
  uint8_t* const half = panels + (size_t(lane / Panel) * Form<W>::Parts * 2 + lane % Panel / 16) * each;
  pack_part<W, 0>(layer, lane, half);
  if constexpr (Form<W>::Parts > 1) pack_part<W, 1>(layer, lane, half + 2 * each);
  if constexpr (Form<W>::Parts > 2) pack_part<W, 2>(layer, lane, half + 4 * each);
}

// What every target hears, by weight row.
template <class W>
void by_target(const Layer<W>& layer, std::vector<int>& first, std::vector<Heard>& heard) {
  first.assign(layer.targets + 1, 0);
  int positions = 0;
  for (const Source& source : layer.sources) positions += source.positions;
  const int entries = layer.heard_from[positions];
  for (int e = 0; e < entries; e++) first[layer.heard[2 * e] + 1]++;
  for (int t = 0; t < layer.targets; t++) first[t + 1] += first[t];
  heard.resize(entries);
  std::vector<int> at(first.begin(), first.end() - 1);
  const int32_t* from = layer.heard_from;
  for (int source = 0; source < int(layer.sources.size()); source++)
    for (int q = 0; q < layer.sources[source].positions; q++, from++)
      for (int e = from[0]; e < from[1]; e++)
        heard[at[layer.heard[2 * e]]++] = {layer.heard[2 * e + 1], source, q};
  for (int t = 0; t < layer.targets; t++)
    std::sort(heard.begin() + first[t], heard.begin() + first[t + 1]);
}

// What is the same for all samples; all threads that need it make it ready together.
class Shared {
  std::mutex beginning;
  bool begun = false;
  std::atomic<int> next, left;  // lanes to be packed; halves of panels that are not ready

 public:
  std::vector<uint8_t> weights;  // [panel, part, half of the panel, group of rows, lane, Each]
  std::vector<int> first;        // [target + 1]: its entries in `heard`
  std::vector<Heard> heard;

  void forget() { begun = false; }  // but keep the memory for the next call

  template <class W>
  void prepare(const Layer<W>& layer) {
    {
      const std::lock_guard<std::mutex> hold(beginning);
      if (!begun) {
        weights.resize(size_t(whole(layer.lanes_all, Panel) / Panel) * Form<W>::Parts * 2 * half_bytes(layer));
        by_target(layer, first, heard);
        next = 0;
        left = whole(layer.lanes_all, Panel) / 16;
        begun = true;
      }
    }
    for (int lane; (lane = next.fetch_add(16)) < whole(layer.lanes_all, Panel); left--)
      pack(layer, lane, weights.data());
    while (left > 0) std::this_thread::yield();
  }
};

// The spikes of samples as numbers, tile by tile: 16 steps of `Depth` channels lie together.
template <class W>
void spread(const Layer<W>& layer, int begin, int end, Scratch<W>& scratch) {
  using Spike = typename Form<W>::Spike;
  constexpr int Each = 64 / Depth<W>;  // tiles that a word of channels fills a row of
  const int tiles = whole(layer.steps, Steps) / Steps;
  scratch.spikes.resize(layer.sources.size());
  for (size_t k = 0; k < layer.sources.size(); k++) {
    const Source& source = layer.sources[k];
    const int words = source.bytes / 8, rows = (end - begin) * source.positions;
    const size_t tile = size_t(Steps) * Depth<W>, wide = size_t(words) * Each * tile;  // all channels of 16 steps
    std::vector<Spike>& to = scratch.spikes[k];
    to.resize(rows * tiles * wide);
    const uint8_t* row = source.spikes + size_t(begin) * source.positions * source.steps * source.bytes;
    for (int q = 0; q < rows; q++)
      for (int t = 0; t < tiles * Steps; t++) {
        Spike* here = to.data() + (size_t(q) * tiles + t / Steps) * wide + t % Steps * Depth<W>;
        const bool there = t >= source.late && t < source.late + source.steps;
        for (int word = 0; word < words; word++, here += Each * tile) {
          uint64_t bits = 0;
          if (there) memcpy(&bits, row, 8), row += 8;
          if constexpr (sizeof(Spike) == 1) {
            _mm512_storeu_si512(here, _mm512_maskz_set1_epi8(bits, 1));
          } else {
            _mm512_storeu_si512(here, _mm512_maskz_set1_epi16(uint32_t(bits), 0x3f80));
            _mm512_storeu_si512(here + tile, _mm512_maskz_set1_epi16(uint32_t(bits >> 32), 0x3f80));
          }
        }
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

// Asks for the tile behind one that is read now: it comes next.
inline void ask_behind(const void* tile) {
  for (int line = 16; line < 32; line++) __builtin_prefetch(static_cast<const char*>(tile) + 64 * line);
}

// Products of two times 16 steps of a sample with what of a panel of weights belongs to one sum, to [half, step, lane].
template <class W, bool Last>
void multiply(const Layer<W>& layer, const Scratch<W>& scratch, int sample, const uint8_t* weights, Half a, Half b,
              typename Form<W>::Sum* to) {
  using Spike = typename Form<W>::Spike;
  const size_t other = half_bytes(layer);
  const int tiles = whole(layer.steps, Steps) / Steps;
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
    const Spike* spikes = scratch.spikes[heard.source].data() +
                          size_t(sample) * layer.sources[heard.source].positions * tiles * Steps * depth;
    auto at = [&](const Half& x) { return spikes + (size_t(x.next->position) * tiles + x.tile) * Steps * depth; };
    const Spike *from_a = of_a ? at(a) : nullptr, *from_b = of_b ? at(b) : nullptr;
    if (!of_a) _tile_zero(4);
    if (!of_b) _tile_zero(5);
    for (int c = 0; c < depth; c += Depth<W>) {
      const uint8_t* row = weights + size_t(heard.row + c) / Form<W>::Each * 64;
      if (of_a) {
        ask_behind(from_a + c * Steps);
        _tile_loadd(4, from_a + c * Steps, 64);
      }
      if (of_b) {
        ask_behind(from_b + c * Steps);
        _tile_loadd(5, from_b + c * Steps, 64);
      }
      for (int part = 0; part < Form<W>::Parts / Form<W>::Sums; part++, row += 2 * other) {
        ask_behind(row);
        ask_behind(row + other);
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

// A panel of neurons of a few targets of a sample, whose spikes are those of `place`.
template <class W>
void by_panel(const Layer<W>& layer, int sample, int place, int panel, int target, int number, const Shared& shared,
              Scratch<W>& scratch) {
  using State = typename Kind<W>::State;
  constexpr int Parts = Form<W>::Parts, Sums = Form<W>::Sums;
  constexpr int Lanes = Kind<W>::Wide * lanes::Words;  // of neurons that are updated together
  const int tiles = whole(layer.steps, Steps) / Steps;
  const size_t each = size_t(whole(number * tiles, 2)) * Steps * Panel, half_panel = half_bytes(layer);
  scratch.sums.resize(std::max(scratch.sums.size(), Sums * each));
  auto half = [&](int tile) -> Half {
    if (tile >= number * tiles) return {nullptr, nullptr, 0};
    const int* of = shared.first.data() + target + tile / tiles;
    return {shared.heard.data() + of[0], shared.heard.data() + of[1], tile % tiles};
  };
  const uint8_t* weights = shared.weights.data() + size_t(panel / Panel) * Parts * 2 * half_panel;
  for (int tile = 0; tile < number * tiles; tile += 2) {
    auto* to = scratch.sums.data() + size_t(tile) * Steps * Panel;
    if constexpr (Sums == 2) multiply<W, false>(layer, scratch, place, weights, half(tile), half(tile + 1), to);
    multiply<W, true>(layer, scratch, place, weights + (Sums - 1) * 2 * half_panel, half(tile), half(tile + 1),
                      to + (Sums - 1) * each);
  }
  for (int k = 0; k < number; k++)
    for (int lane = panel; lane < std::min(panel + Panel, layer.lanes_all); lane += Lanes) {
      const auto* sums = scratch.sums.data() + size_t(k) * tiles * Steps * Panel + (lane - panel);
      dynamics<W, 1>(layer, sample, target + k, lane, [&](int t, State* v) {
        for (int i = 0; i < Kind<W>::Wide; i++) {
          const auto* from = sums + t * Panel + i * lanes::Words;
          v[i] += lanes::load<State>(from);
          if constexpr (Sums == 2) v[i] += lanes::load<State>(from + each) << 8;
        }
        return true;
      });
    }
}

}  // namespace matrix

// All targets of some samples.
//
// A panel of weights is read again for every target and sample, and the spikes of a target for every panel. Both come
// from the second cache: samples, or parts of one, are taken together as far as their spikes fit into half of it.
template <class W>
void by_matrix(const Layer<W>& layer, int begin, int end, matrix::Shared& shared, matrix::Scratch<W>& scratch) {
  using namespace matrix;
  const int tiles = whole(layer.steps, Steps) / Steps, together = tiles == 1 ? 2 : 1;  // of a target; targets
  alignas(64) uint8_t shape[64] = {1};
  for (int i = 0; i < 8; i++) {
    shape[16 + 2 * i] = 64;  // bytes of a row
    shape[48 + i] = 16;      // rows
  }
  shared.prepare(layer);
  _tile_loadconfig(shape);
  size_t bytes = 1;  // of a sample's spikes
  for (const Source& source : layer.sources)
    bytes += size_t(source.positions) * tiles * Steps * source.bytes * 8 * sizeof(typename Form<W>::Spike);
  const int samples = int(std::max<size_t>(1, Near / bytes));
  const int parts = int((bytes + Near - 1) / Near), targets = whole((layer.targets + parts - 1) / parts, together);
  for (int first = begin; first < end; first += samples) {
    const int last = std::min(end, first + samples);
    spread(layer, first, last, scratch);
    for (int from = 0; from < layer.targets; from += targets)
      for (int panel = 0; panel < layer.lanes_all; panel += Panel)
        for (int s = first; s < last; s++)
          for (int target = from; target < std::min(from + targets, layer.targets); target += together)
            by_panel(layer, s, s - first, panel, target, std::min(together, layer.targets - target), shared, scratch);
  }
  _tile_release();
}

#endif

}  // namespace fire
