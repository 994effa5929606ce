// Vectors of the widest kind that the compiler is allowed to use, and the few operations that kernels need of them.
//
// `Bytes` is the width of a vector; everything else follows from it. Operations that GCC's and Clang's generic
// vectors do badly (compare to a bit mask, compact a bit row into indices) have one version for each instruction set
// and a plain one, which is also the specification of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define LANES_AVX512 1
#elif defined(__AVX2__)
#include <immintrin.h>
#define LANES_AVX2 1
#endif

namespace lanes {

#if LANES_AVX512
constexpr int Bytes = 64;
#elif LANES_AVX2
constexpr int Bytes = 32;
#else
constexpr int Bytes = 16;
#endif

constexpr int Words = Bytes / 4;   // lanes of 32 bits
constexpr int Halves = Bytes / 2;  // lanes of 16 bits
constexpr int Longs = Bytes / 8;   // lanes of 64 bits

typedef int8_t Narrow __attribute__((vector_size(Bytes / 2)));
typedef int8_t Quarter __attribute__((vector_size(Bytes)));
typedef int16_t Half __attribute__((vector_size(Bytes)));
typedef int16_t HalfHalf __attribute__((vector_size(Bytes / 2)));
typedef int32_t Word __attribute__((vector_size(Bytes)));
typedef int64_t Long __attribute__((vector_size(Bytes)));
typedef float Real __attribute__((vector_size(Bytes)));
typedef float HalfReal __attribute__((vector_size(Bytes / 2)));

template <class V, class T>
inline V load(const T* from) {
  V v;
  memcpy(&v, from, sizeof v);
  return v;
}

template <class V, class T>
inline void store(T* to, const V& v) {
  memcpy(to, &v, sizeof v);
}

// Nothing is taken from it, which leaves every number as it is: adding it would not leave -0, and remain in the code.
template <class V, class T>
inline V splat(T x) {
  return x - V{};
}

// Weights of `Halves` neurons, widened to 16 bits.
inline Half widened(const int8_t* from) {
#if LANES_AVX512
  return (Half)_mm512_cvtepi8_epi16((__m256i)load<Narrow>(from));
#elif LANES_AVX2
  return (Half)_mm256_cvtepi8_epi16((__m128i)load<Narrow>(from));
#else
  return __builtin_convertvector(load<Narrow>(from), Half);
#endif
}
inline Half widened(const int16_t* from) { return load<Half>(from); }
inline Half widened(const uint8_t* from) {
#if LANES_AVX512
  return (Half)_mm512_cvtepu8_epi16((__m256i)load<Narrow>(from));
#elif LANES_AVX2
  return (Half)_mm256_cvtepu8_epi16((__m128i)load<Narrow>(from));
#else
  typedef uint8_t Byte __attribute__((vector_size(Bytes / 2)));
  return __builtin_convertvector(load<Byte>(from), Half);
#endif
}

// Adds two rows of 8-bit weights to sums of 16 bits, whose lanes `ordered` puts in order in the end. Half as many lanes
// change places as in widening every row, which only one port of a processor can do.
inline void add_rows(Half& low, Half& high, const Quarter& a, const Quarter& b) {
#if LANES_AVX512
  const __m512i one = _mm512_set1_epi8(1);
  low += (Half)_mm512_maddubs_epi16(one, _mm512_unpacklo_epi8((__m512i)a, (__m512i)b));
  high += (Half)_mm512_maddubs_epi16(one, _mm512_unpackhi_epi8((__m512i)a, (__m512i)b));
#elif LANES_AVX2
  const __m256i one = _mm256_set1_epi8(1);
  low += (Half)_mm256_maddubs_epi16(one, _mm256_unpacklo_epi8((__m256i)a, (__m256i)b));
  high += (Half)_mm256_maddubs_epi16(one, _mm256_unpackhi_epi8((__m256i)a, (__m256i)b));
#else
  Narrow x[4];
  memcpy(x, &a, sizeof a);
  memcpy(x + 2, &b, sizeof b);
  low += __builtin_convertvector(x[0], Half) + __builtin_convertvector(x[2], Half);
  high += __builtin_convertvector(x[1], Half) + __builtin_convertvector(x[3], Half);
#endif
}
inline void ordered(Half& low, Half& high) {
#if LANES_AVX512
  const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), rest = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  const __m512i a = (__m512i)low, b = (__m512i)high;
  low = (Half)_mm512_permutex2var_epi64(a, first, b);
  high = (Half)_mm512_permutex2var_epi64(a, rest, b);
#elif LANES_AVX2
  const __m256i a = (__m256i)low, b = (__m256i)high;
  low = (Half)_mm256_permute2x128_si256(a, b, 0x20);
  high = (Half)_mm256_permute2x128_si256(a, b, 0x31);
#endif
}

// Adds 16-bit sums to two vectors of 32-bit state.
inline void add_wide(Word& low, Word& high, const Half& sum) {
#if LANES_AVX512
  low += (Word)_mm512_cvtepi16_epi32(_mm512_castsi512_si256((__m512i)sum));
  high += (Word)_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64((__m512i)sum, 1));
#elif LANES_AVX2
  low += (Word)_mm256_cvtepi16_epi32(_mm256_castsi256_si128((__m256i)sum));
  high += (Word)_mm256_cvtepi16_epi32(_mm256_extracti128_si256((__m256i)sum, 1));
#else
  HalfHalf halves[2];
  memcpy(halves, &sum, sizeof sum);
  low += __builtin_convertvector(halves[0], Word);
  high += __builtin_convertvector(halves[1], Word);
#endif
}

// Adds the sums of products of neighbouring 16-bit lanes to 32-bit lanes.
inline void add_products(Word& sum, const Half& a, const Half& b) {
#if LANES_AVX512 && defined(__AVX512VNNI__)
  sum = (Word)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif LANES_AVX512
  sum += (Word)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif LANES_AVX2
  sum += (Word)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  for (int i = 0; i < Words; i++) sum[i] += int32_t(a[2 * i]) * b[2 * i] + int32_t(a[2 * i + 1]) * b[2 * i + 1];
#endif
}

// The same of four 8-bit lanes; those of `a` must not be negative, so that two products have room in 16 bits.
inline void add_products(Word& sum, const Quarter& a, const Quarter& b) {
#if LANES_AVX512 && defined(__AVX512VNNI__)
  sum = (Word)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif LANES_AVX512
  sum += (Word)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)a, (__m512i)b), _mm512_set1_epi16(1));
#elif LANES_AVX2
  sum += (Word)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)a, (__m256i)b), _mm256_set1_epi16(1));
#else
  for (int i = 0; i < Words; i++)
    for (int j = 4 * i; j < 4 * i + 4; j++) sum[i] += int32_t(a[j]) * b[j];
#endif
}

// Takes `amount` from the lanes in which v >= threshold; returns their bits, lane 0 lowest.
inline uint32_t spike(Word& v, const Word& threshold, const Word& amount) {
#if LANES_AVX512
  const __mmask16 on = _mm512_cmpge_epi32_mask((__m512i)v, (__m512i)threshold);
  v = (Word)_mm512_mask_sub_epi32((__m512i)v, on, (__m512i)v, (__m512i)amount);
  return on;
#elif LANES_AVX2
  const __m256i off = _mm256_cmpgt_epi32((__m256i)threshold, (__m256i)v);
  v -= (Word)_mm256_andnot_si256(off, (__m256i)amount);
  return ~_mm256_movemask_ps((__m256)off) & 0xff;
#else
  const Word on = v >= threshold;
  v -= on & amount;
  uint32_t bits = 0;
  for (int i = 0; i < Words; i++) bits |= uint32_t(on[i] & 1) << i;
  return bits;
#endif
}

inline uint32_t spike(Real& v, const Real& threshold, const Real& amount) {
#if LANES_AVX512
  const __mmask16 on = _mm512_cmp_ps_mask((__m512)v, (__m512)threshold, _CMP_GE_OQ);
  v = (Real)_mm512_mask_sub_ps((__m512)v, on, (__m512)v, (__m512)amount);
  return on;
#elif LANES_AVX2
  const __m256 on = _mm256_cmp_ps((__m256)v, (__m256)threshold, _CMP_GE_OQ);
  v -= (Real)_mm256_and_ps(on, (__m256)amount);
  return _mm256_movemask_ps(on);
#else
  uint32_t bits = 0;
  for (int i = 0; i < Words; i++) {
    const bool on = v[i] >= threshold[i];
    bits |= uint32_t(on) << i;
    v[i] -= on ? amount[i] : 0.0f;
  }
  return bits;
#endif
}

// `x` in the lanes whose bit is set, 0 elsewhere; bits holds one for each 16-bit lane.
inline Half selected(uint32_t bits, const Half& x) {
#if LANES_AVX512
  return (Half)_mm512_maskz_mov_epi16(__mmask32(bits), (__m512i)x);
#elif LANES_AVX2
  const __m256i select = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
                                           int16_t(0x8000));
  __m256i on = _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(int16_t(bits)), select), select);
  return (Half)_mm256_and_si256(on, (__m256i)x);
#else
  Half on{};
  for (int i = 0; i < Halves; i++) on[i] = int16_t(-(bits >> i & 1));
  return on & x;
#endif
}

inline Real selected(uint32_t bits, const Real& x) {
#if LANES_AVX512
  return (Real)_mm512_maskz_mov_ps(__mmask16(bits), (__m512)x);
#elif LANES_AVX2
  const __m256i select = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i on = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int(bits)), select), select);
  return (Real)_mm256_and_ps((__m256)on, (__m256)x);
#else
  Real on{};
  for (int i = 0; i < Words; i++) on[i] = bits >> i & 1 ? x[i] : 0.0f;
  return on;
#endif
}

inline Word lesser(const Word& a, const Word& b) {
#if LANES_AVX512
  return (Word)_mm512_min_epi32((__m512i)a, (__m512i)b);
#elif LANES_AVX2
  return (Word)_mm256_min_epi32((__m256i)a, (__m256i)b);
#else
  Word r;
  for (int i = 0; i < Words; i++) r[i] = a[i] < b[i] ? a[i] : b[i];
  return r;
#endif
}

inline Word greater(const Word& a, const Word& b) { return -lesser(-a, -b); }

inline Real lesser(const Real& a, const Real& b) {
  Real r;
  for (int i = 0; i < Words; i++) r[i] = a[i] < b[i] ? a[i] : b[i];
  return r;
}

inline Real greater(const Real& a, const Real& b) { return -lesser(-a, -b); }

// One of the two lanes, halving again and again.
template <class V, class T, class F>
inline T folded(const V& v, F&& of) {
  T x[Words];
  store(x, v);
  for (int n = Words / 2; n; n /= 2)
    for (int i = 0; i < n; i++) x[i] = of(x[i], x[i + n]);
  return x[0];
}

inline float largest(const Real& v) {
  return folded<Real, float>(v, [](float a, float b) { return a > b ? a : b; });
}
inline int32_t least(const Word& v) {
  return folded<Word, int32_t>(v, [](int32_t a, int32_t b) { return a < b ? a : b; });
}
inline float total(const Real& v) {
  return folded<Real, float>(v, [](float a, float b) { return a + b; });
}

// Room that `indices` may write beyond the last index.
constexpr int Slack = 64;

// Which of the 64 bytes from `row` are not zero, of which `words` words of 64 bits may be read; byte 0 lowest.
inline uint64_t occupied(const uint8_t* row, int words) {
#if LANES_AVX512
  const __m512i bytes = _mm512_maskz_loadu_epi64(__mmask8((1u << (words < 8 ? words : 8)) - 1), row);
  return _mm512_test_epi8_mask(bytes, bytes);
#else
  uint64_t mask = 0;
  for (int k = 0; k < 8 && k < words; k++) {
    uint64_t bits;
    memcpy(&bits, row + 8 * k, 8);
    bits |= bits >> 4 & 0x0f0f0f0f0f0f0f0f;
    bits |= bits >> 2 & 0x3333333333333333;
    bits |= bits >> 1;
    mask |= (bits & 0x0101010101010101) * 0x0102040810204080 >> 56 << 8 * k;
  }
  return mask;
#endif
}

// Where the bits of a byte that are set stand, first of them first.
struct Places {
  uint8_t of[256][8];
};

constexpr Places places() {
  Places found{};
  for (int byte = 0; byte < 256; byte++)
    for (int bit = 0, n = 0; bit < 8; bit++)
      if (byte >> bit & 1) found.of[byte][n++] = uint8_t(bit);
  return found;
}

constexpr Places Set = places();

// Appends first + i for every bit i of `row` that is set, `words` words of 64 bits; returns the end of the list.
// Nothing branches on a single spike: in a sparse row that would be guessed wrong every time.
inline uint16_t* indices(const uint8_t* row, int words, uint32_t first, uint16_t* to) {
#if LANES_AVX512 && defined(__AVX512VBMI2__)
  const __m512i count = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12,
                                         11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (; words > 0; words -= 8, row += 64, first += 512) {
    const __m512i all = _mm512_maskz_loadu_epi64(__mmask8((1u << (words < 8 ? words : 8)) - 1), row);
    for (uint32_t any = _mm512_test_epi32_mask(all, all); any; any &= any - 1) {
      const int k = __builtin_ctz(any);
      uint32_t bits;
      memcpy(&bits, row + 4 * k, 4);
      const __m512i at = _mm512_add_epi16(count, _mm512_set1_epi16(int16_t(first + 32 * k)));
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi16(bits, at));
      to += __builtin_popcount(bits);
    }
  }
#else
  for (; words > 0; words -= 8, row += 64, first += 512)
    for (uint64_t bytes = occupied(row, words); bytes; bytes &= bytes - 1) {
      const int k = __builtin_ctzll(bytes);
      const uint8_t* at = Set.of[row[k]];
      const uint16_t base = uint16_t(first + 8 * k);
      for (int i = 0; i < 8; i++) to[i] = uint16_t(base + at[i]);
      to += __builtin_popcount(row[k]);
    }
#endif
  return to;
}

// Whether any lane is set.
inline bool any(const Word& v) {
#if LANES_AVX512
  return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) != 0;
#else
  int32_t found = 0;
  for (int i = 0; i < Words; i++) found |= v[i];
  return found != 0;
#endif
}

// Bits of each lane that are set.
inline Long ones(const Long& v) {
#if LANES_AVX512 && defined(__AVX512VPOPCNTDQ__)
  return (Long)_mm512_popcnt_epi64((__m512i)v);
#else
  Long found;
  for (int i = 0; i < Longs; i++) found[i] = __builtin_popcountll(v[i]);
  return found;
#endif
}

inline int ones(const uint8_t* row, int words) {
  int n = 0;
  for (int k = 0; k < words; k++) {
    uint64_t bits;
    memcpy(&bits, row + 8 * k, 8);
    n += __builtin_popcountll(bits);
  }
  return n;
}

}  // namespace lanes
