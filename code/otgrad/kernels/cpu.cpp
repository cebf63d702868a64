// Semi-discrete transport on atoms of small integers, for CPUs with AVX-512 VNNI. See cpu.py for the mathematics.
//
// Atoms y (n, d) of bytes are kept in groups of 32; of a group only the blocks of 4 coordinates in which some atom is
// not 0 are stored, as 2 x 16 atoms x 4 coordinates (128 bytes), with the number k of the block beside them. Points
// are 16-bit integers in two signed bytes, high and low, 6 points to a block. One instruction multiplies 16 atoms x 4
// coordinates by 4 coordinates of one point. Tiles of 8 groups are the unit of work of a thread and of all partial
// sums, so that results do not depend on the number of threads.
#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t GROUP = 32, ROWS = 6, TILE = 8, WIDTH = GROUP * TILE;  // atoms, points, groups, atoms per tile
using Vec = __m512i;

inline __m512 exponential(__m512 x) {  // relative error 2e-7 for x in [-87, 0]
  const __m512 k = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)), 0);
  __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693145751953125f), x);
  r = _mm512_fnmadd_ps(k, _mm512_set1_ps(1.42860682030941723e-6f), r);
  __m512 p = _mm512_set1_ps(1.0f / 5040);
  for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
  return _mm512_scalef_ps(p, k);
}

// acc[half][point][limb] = sum over the group's blocks of atoms * limbs. Not inlined: the 24 sums fill the registers.
__attribute__((noinline)) void products(const Vec* __restrict blocks, const int32_t* __restrict ks, int64_t count,
                                        const int32_t* __restrict x, Vec (&acc)[2][ROWS][2]) {
  Vec high[2][ROWS], low[2][ROWS];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) high[0][r] = high[1][r] = low[0][r] = low[1][r] = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i++) {
    const Vec first = blocks[2 * i], second = blocks[2 * i + 1];
    const int32_t* limbs = x + int64_t(ks[i]) * (2 * ROWS);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
      const Vec h = _mm512_set1_epi32(limbs[2 * r]), l = _mm512_set1_epi32(limbs[2 * r + 1]);
      high[0][r] = _mm512_dpbusd_epi32(high[0][r], first, h);
      high[1][r] = _mm512_dpbusd_epi32(high[1][r], second, h);
      low[0][r] = _mm512_dpbusd_epi32(low[0][r], first, l);
      low[1][r] = _mm512_dpbusd_epi32(low[1][r], second, l);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++)
    for (int half = 0; half < 2; half++) acc[half][r][0] = high[half][r], acc[half][r][1] = low[half][r];
}

// Bytes of one point's 4 coordinates k, of which the last may lie beyond d.
inline bool load4(const uint8_t* row, int64_t k, int64_t d, uint8_t* out) {
  uint32_t word = 0;
  std::memcpy(&word, row + 4 * k, std::min<int64_t>(4, d - 4 * k));
  std::memcpy(out, &word, 4);
  return word != 0;
}

// words[16 pixels][4 atoms] <- 16 bytes of each of 4 rows, of which `mask` says which exist; say whether any is not 0.
bool interleave(const uint8_t* const (&rows)[4], int64_t at, __mmask16 mask, __m128i* words) {
  __m128i r[4];
  for (int a = 0; a < 4; a++) r[a] = rows[a] ? _mm_maskz_loadu_epi8(mask, rows[a] + at) : _mm_setzero_si128();
  const __m128i low01 = _mm_unpacklo_epi8(r[0], r[1]), high01 = _mm_unpackhi_epi8(r[0], r[1]);
  const __m128i low23 = _mm_unpacklo_epi8(r[2], r[3]), high23 = _mm_unpackhi_epi8(r[2], r[3]);
  words[0] = _mm_unpacklo_epi16(low01, low23), words[1] = _mm_unpackhi_epi16(low01, low23);
  words[2] = _mm_unpacklo_epi16(high01, high23), words[3] = _mm_unpackhi_epi16(high01, high23);
  const __m128i any = _mm_or_si128(_mm_or_si128(r[0], r[1]), _mm_or_si128(r[2], r[3]));
  return !_mm_testz_si128(any, any);
}

// A tile of atoms with its coordinates, 32 at a time, as the outer index: the same layout as the groups, so that
// `products` sums over the tile's atoms. blocks[p][..][2 x 16 coordinates][4 atoms], ks[p] their fours of atoms.
struct Transposed {
  int64_t pairs;
  std::vector<Vec> blocks;
  std::vector<int32_t> ks;
  std::vector<int64_t> counts;
  explicit Transposed(int64_t d) : pairs((d + 31) / 32), blocks(pairs * (WIDTH / 4) * 2), ks(pairs * (WIDTH / 4)), counts(pairs) {}

  void load(const uint8_t* y, const int32_t* order, int64_t first, int64_t last, int64_t d) {
    std::fill(counts.begin(), counts.end(), 0);
    for (int64_t k = 0; k < WIDTH / 4; k++) {
      const uint8_t* rows[4];
      for (int64_t a = 0, j = first + 4 * k; a < 4; a++, j++) rows[a] = j < last ? y + int64_t(order[j]) * d : nullptr;
      for (int64_t p = 0; p < pairs; p++) {
        const int64_t at = p * (WIDTH / 4) + counts[p];
        bool any = false;
        for (int64_t half = 0; half < 2; half++) {
          const int64_t start = 32 * p + 16 * half, left = std::clamp<int64_t>(d - start, 0, 16);
          any |= interleave(rows, start, __mmask16((1u << left) - 1), (__m128i*)&blocks[2 * at + half]);
        }
        if (any) ks[at] = int32_t(k), counts[p]++;
      }
    }
  }
};

// The least and the largest of d numbers, and whether all are finite.
struct Range {
  float low, high;
  bool finite = true;
  Range(const float* x, int64_t d) {
    const __m512 infinity = _mm512_set1_ps(INFINITY);
    __m512 least = infinity, most = _mm512_set1_ps(-INFINITY);
    for (int64_t c = 0; c < d; c += 16) {
      const __mmask16 inside = __mmask16((1u << std::min<int64_t>(16, d - c)) - 1);
      const __m512 v = _mm512_maskz_loadu_ps(inside, x + c);
      finite &= _mm512_cmp_ps_mask(_mm512_abs_ps(v), infinity, _CMP_LT_OQ) == 0xffff;
      least = _mm512_mask_min_ps(least, inside, least, v), most = _mm512_mask_max_ps(most, inside, most, v);
    }
    low = _mm512_reduce_min_ps(least), high = _mm512_reduce_max_ps(most);
  }
};

// scores[row_i] (.., ld) = factor_i * <integers of x_i, y_j> + slope_i * sum_j + bias_j, and the maximum over each tile,
// tops (.., tiles). With MORE the first two terms are added to the scores. rows, factor, slope are (6 ceil(b / 6),);
// beyond b the last two are 0, so that a row may stand twice.
template <bool MORE>
void add_scores(const uint8_t* blocks, const int32_t* ks, const int64_t* starts, int64_t groups, const int32_t* limbs,
            int64_t d4, int64_t b, const int64_t* rows, const float* factor, const float* slope, const float* bias,
            const float* sums, float* scores, int64_t ld, float* tops) {
  const int64_t tiles = (groups + TILE - 1) / TILE, row_blocks = (b + ROWS - 1) / ROWS;
#pragma omp parallel for schedule(dynamic)
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t block = 0; block < row_blocks; block++) {
      const float *low = factor + block * ROWS, *along = slope + block * ROWS;
      const int64_t* row = rows + block * ROWS;
      float high[ROWS];
      for (int r = 0; r < ROWS; r++) high[r] = 256 * low[r];
      __m512 top[ROWS];
      for (auto& v : top) v = _mm512_set1_ps(-INFINITY);
      for (int64_t g = t * TILE; g < std::min(groups, (t + 1) * TILE); g++) {
        Vec acc[2][ROWS][2];
        products((const Vec*)blocks + 2 * starts[g], ks + starts[g], starts[g + 1] - starts[g],
                 limbs + block * d4 * 2 * ROWS, acc);
        for (int half = 0; half < 2; half++) {
          const int64_t at = g * GROUP + 16 * half;
          const __m512 sum = _mm512_loadu_ps(sums + at), shift = MORE ? sum : _mm512_loadu_ps(bias + at);
#pragma GCC unroll 6
          for (int r = 0; r < ROWS; r++) {
            float* out = scores + row[r] * ld + at;
            __m512 s = _mm512_fmadd_ps(sum, _mm512_set1_ps(along[r]), MORE ? _mm512_loadu_ps(out) : shift);
            s = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[half][r][0]), _mm512_set1_ps(high[r]), s);
            s = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[half][r][1]), _mm512_set1_ps(low[r]), s);
            top[r] = _mm512_max_ps(top[r], s);
            _mm512_storeu_ps(out, s);
          }
        }
      }
      for (int r = 0; r < ROWS; r++) tops[row[r] * tiles + t] = _mm512_reduce_max_ps(top[r]);
    }
}

}  // namespace

extern "C" {

// Number of blocks of each group; order (n,) is the atoms' place in the groups.
void count_blocks(const uint8_t* y, const int32_t* order, int64_t n, int64_t d, int64_t* counts) {
  const int64_t groups = (n + GROUP - 1) / GROUP, d4 = (d + 3) / 4;
#pragma omp parallel for
  for (int64_t g = 0; g < groups; g++) {
    int64_t count = 0;
    for (int64_t k = 0; k < d4; k++) {
      bool any = false;
      uint8_t word[4];
      for (int64_t j = g * GROUP; j < std::min(n, (g + 1) * GROUP) && !any; j++)
        any = load4(y + int64_t(order[j]) * d, k, d, word);
      count += any;
    }
    counts[g] = count;
  }
}

// Write the blocks and their ks, those of group g from starts[g] on. blocks is zeroed and aligned to 64 bytes.
void fill_blocks(const uint8_t* y, const int32_t* order, int64_t n, int64_t d, const int64_t* starts, uint8_t* blocks,
                 int32_t* ks) {
  const int64_t groups = (n + GROUP - 1) / GROUP, d4 = (d + 3) / 4;
#pragma omp parallel for
  for (int64_t g = 0; g < groups; g++) {
    int64_t at = starts[g];
    for (int64_t k = 0; k < d4; k++) {
      bool any = false;
      uint8_t words[GROUP][4] = {};
      for (int64_t j = g * GROUP; j < std::min(n, (g + 1) * GROUP); j++)
        any |= load4(y + int64_t(order[j]) * d, k, d, words[j % GROUP]);
      if (!any) continue;
      std::memcpy(blocks + at * sizeof words, words, sizeof words);
      ks[at++] = int32_t(k);
    }
  }
}

// limbs <- (x_i - origin_i) / step_i as two bytes, the range of each point cut by itself into steps; rest (b, d) <- what
// the rounding left of x, also that of origin_i to float; left (b,) <- the largest of it. limbs is zeroed,
// (ceil(b / 6), d4, 6, 2) words of 4 coordinates. A point that is not finite gets a rest of nan, and 0 elsewhere.
void quantise(const float* x, int64_t b, int64_t d, double levels, int8_t* limbs, float* rest, float* origins,
              float* steps, float* left) {
  const int64_t d4 = (d + 3) / 4;
#pragma omp parallel for
  for (int64_t i = 0; i < b; i++) {
    int8_t* block = limbs + (i / ROWS) * d4 * ROWS * 8 + (i % ROWS) * 8;
    const Range range(x + i * d, d);
    origins[i] = steps[i] = left[i] = 0;
    if (!range.finite) {
      std::fill_n(rest + i * d, d, NAN);
      continue;
    }
    const double step = std::max((double(range.high) - double(range.low)) / levels, 1e-30);
    const double origin = range.low + 32768 * step, off = origin - double(float(origin));
    origins[i] = float(origin), steps[i] = float(step);
    float largest = 0;
    for (int64_t c = 0; c < d; c++) {
      const double v = (double(x[i * d + c]) - origin) / step, whole = std::nearbyint(v);
      const int32_t w = int32_t(whole), high = (w + 128) >> 8;
      int8_t* word = block + (c / 4) * ROWS * 8 + c % 4;
      word[0] = int8_t(high), word[4] = int8_t(w - 256 * high);
      const float r = rest[i * d + c] = float((v - whole) * step + off);
      largest = std::max(largest, std::fabs(r));
    }
    left[i] = largest;
  }
}

// See add_scores.
void scores(const uint8_t* blocks, const int32_t* ks, const int64_t* starts, int64_t groups, const int32_t* limbs,
            int64_t d4, int64_t b, const int64_t* rows, const float* factor, const float* slope, const float* bias,
            const float* sums, float* scores, int64_t ld, float* tops) {
  (bias ? add_scores<false> : add_scores<true>)(blocks, ks, starts, groups, limbs, d4, b, rows, factor, slope, bias, sums,
                                                scores, ld, tops);
}

// scores <- e = exp(scores - top_i) where the tile's top is not below top_i - cut (elsewhere they are left as they are),
// sums (b, tiles) <- sum_j nu_j e_ij over the tile, 0 where it was left out.
void exponentials(float* scores, int64_t ld, int64_t b, int64_t groups, const float* tops, const float* top,
                  const float* nu, float cut, float* sums) {
  const int64_t tiles = (groups + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic)
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t i = 0; i < b; i++) {
      sums[i * tiles + t] = 0;
      if (!(tops[i * tiles + t] >= top[i] - cut)) continue;  // equal where cut is lost in rounding
      const __m512 shift = _mm512_set1_ps(top[i]), least = _mm512_set1_ps(-60.0f);
      __m512 sum = _mm512_setzero_ps();
      for (int64_t j = t * WIDTH; j < std::min(groups * GROUP, (t + 1) * WIDTH); j += 16) {
        float* s = scores + i * ld + j;
        const __m512 e = exponential(_mm512_max_ps(_mm512_sub_ps(_mm512_loadu_ps(s), shift), least));
        sum = _mm512_fmadd_ps(e, _mm512_loadu_ps(nu + j), sum);
        _mm512_storeu_ps(s, e);
      }
      sums[i * tiles + t] = _mm512_reduce_add_ps(sum);
    }
}

// out_j = sum_i factor_i e_ij over the rows whose tile was not left out (sums > 0)
void columns(const float* e, int64_t ld, int64_t b, int64_t groups, const float* sums, const float* factor, float* out) {
  const int64_t tiles = (groups + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic)
  for (int64_t t = 0; t < tiles; t++) {
    __m512 total[WIDTH / 16];
    for (auto& v : total) v = _mm512_setzero_ps();
    const int64_t vectors = std::min(groups * GROUP - t * WIDTH, WIDTH) / 16;
    for (int64_t i = 0; i < b; i++) {
      if (sums[i * tiles + t] == 0) continue;
      const __m512 f = _mm512_set1_ps(factor[i]);
      const float* row = e + i * ld + t * WIDTH;
      if (vectors == WIDTH / 16)
#pragma GCC unroll 16
        for (int v = 0; v < WIDTH / 16; v++) total[v] = _mm512_fmadd_ps(f, _mm512_loadu_ps(row + 16 * v), total[v]);
      else
        for (int v = 0; v < vectors; v++) total[v] = _mm512_fmadd_ps(f, _mm512_loadu_ps(row + 16 * v), total[v]);
    }
    for (int v = 0; v < vectors; v++) _mm512_storeu_ps(out + t * WIDTH + 16 * v, total[v]);
  }
}

// means (b, d) <- sum_j nu_j e_ij y_j / z_i, the weights rounded to 16 bits of the largest in their tile. Tiles whose
// share of z_i is below `least` are left out. means is zeroed, its rows are ld_means = 32 ceil(d / 32) wide.
void weighted_means(const uint8_t* y, const int32_t* order, int64_t n, int64_t d, const float* e, int64_t ld, int64_t b,
                    const float* nu, const float* sums, const float* z, float least, float* means) {
  const int64_t tiles = (n + WIDTH - 1) / WIDTH, ld_means = 32 * ((d + 31) / 32);
#pragma omp parallel
  {
    Transposed atoms(d);
    std::vector<int64_t> rows;
    alignas(64) int8_t limbs[WIDTH / 4][ROWS][2][4];
    // the rows of a thread: whole sixes, as even as can be
    const int64_t sixes = (b + ROWS - 1) / ROWS, threads = omp_get_num_threads(), me = omp_get_thread_num();
    const int64_t begin = ROWS * (sixes * me / threads), end = std::min(b, ROWS * (sixes * (me + 1) / threads));
    for (int64_t t = 0; t < tiles; t++) {
      rows.clear();
      for (int64_t i = begin; i < end; i++)
        if (sums[i * tiles + t] > least * z[i]) rows.push_back(i);
      if (rows.empty()) continue;
      const int64_t first = t * WIDTH, last = std::min(n, first + WIDTH), padded = GROUP * ((last - first + GROUP - 1) / GROUP);
      atoms.load(y, order, first, last, d);
      for (size_t start = 0; start < rows.size(); start += ROWS) {
        const int64_t count = std::min<int64_t>(ROWS, rows.size() - start);
        float unit[ROWS];
        std::memset(limbs, 0, sizeof limbs);
        for (int64_t r = 0; r < count; r++) {
          const int64_t i = rows[start + r];
          __m512 largest = _mm512_setzero_ps();
          for (int64_t j = first; j < first + padded; j += 16)
            largest = _mm512_max_ps(largest, _mm512_mul_ps(_mm512_loadu_ps(e + i * ld + j), _mm512_loadu_ps(nu + j)));
          unit[r] = std::max(_mm512_reduce_max_ps(largest), 1e-30f) / 32639;
          const __m512 scale = _mm512_set1_ps(1 / unit[r]);
          for (int64_t j = 0; j < padded; j += 16) {
            const __m512 w = _mm512_mul_ps(_mm512_loadu_ps(e + i * ld + first + j), _mm512_loadu_ps(nu + first + j));
            const Vec v = _mm512_min_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(w, scale)), _mm512_set1_epi32(32639));
            const Vec high = _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(128)), 8);
            alignas(16) int8_t parts[2][16];
            _mm_store_si128((__m128i*)parts[0], _mm512_cvtepi32_epi8(high));
            _mm_store_si128((__m128i*)parts[1], _mm512_cvtepi32_epi8(_mm512_sub_epi32(v, _mm512_slli_epi32(high, 8))));
            for (int64_t q = 0; q < 4; q++)
              for (int limb = 0; limb < 2; limb++) std::memcpy(limbs[j / 4 + q][r][limb], parts[limb] + 4 * q, 4);
          }
          unit[r] /= z[i];
        }
        for (int64_t p = 0; p < atoms.pairs; p++) {
          Vec acc[2][ROWS][2];
          const int64_t at = p * (WIDTH / 4);
          products(&atoms.blocks[2 * at], &atoms.ks[at], atoms.counts[p], (const int32_t*)limbs, acc);
          for (int64_t r = 0; r < count; r++)
            for (int half = 0; half < 2; half++) {
              float* out = means + rows[start + r] * ld_means + 32 * p + 16 * half;
              const __m512 sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[half][r][0]), _mm512_set1_ps(256),
                                                 _mm512_cvtepi32_ps(acc[half][r][1]));
              _mm512_storeu_ps(out, _mm512_fmadd_ps(sum, _mm512_set1_ps(unit[r]), _mm512_loadu_ps(out)));
            }
        }
      }
    }
  }
}

}  // extern "C"
