// Attention whose scores stay in the L1 cache.
//
// A tile of ROWS x VECTORS dot products stays in registers.

#pragma once

#include <ATen/Parallel.h>

#include "tiles.h"

namespace {

#if defined(__AVX512F__)
constexpr int ROWS = 5;
#else
constexpr int ROWS = 4;
#endif

constexpr float LOWEST = -3e38f;  // below every score
constexpr float NO_KEY = -1e30f;  // bias of columns beyond the last key

// Scores of R queries and C vectors of keys, with keys as [channels, wide]; sums start at the bias.
template <int R, int C>
inline void score_panel(const float* query, int64_t query_row, const float* keys, int64_t wide, int64_t channels,
                        const float* bias, int64_t bias_row, float* scores) {
  Tile<R, C> sum;
  load_tile<R, C>(sum, bias, bias_row);
  add_products<R, C>(sum, query, query_row, 1, keys, wide, channels);
  store_tile<R, C>(sum, scores, wide);
}

// Scores of R queries and all keys: panels of C vectors, then the remainder.
template <int R, int C>
inline void score(const float* query, int64_t query_row, const float* keys, int64_t wide, int64_t channels,
                  const float* bias, int64_t bias_row, float* scores, int64_t from = 0) {
  int64_t j = from;
  for (; j + C * LANES <= wide; j += C * LANES)
    score_panel<R, C>(query, query_row, keys + j, wide, channels, bias + j, bias_row, scores + j);
  if constexpr (C > 1) score<R, C - 1>(query, query_row, keys, wide, channels, bias, bias_row, scores, j);
}

// Product of R rows of weights (`step` apart within a row) and C vectors of values, scaled by a factor per row.
template <int R, int C>
inline void mix_panel(const float* weights, int64_t row, int64_t step, const float* value, int64_t value_row,
                      int64_t keys, const float* factors, float* out, int64_t out_row) {
  Tile<R, C> sum = {};
  add_products<R, C>(sum, weights, row, step, value, value_row, keys);
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) sum[i][j] *= factors[i];
  store_tile<R, C>(sum, out, out_row);
}

// Product of R rows of weights and all channels of the values.
template <int R>
inline void mix(const float* weights, int64_t row, int64_t step, const float* value, int64_t value_row, int64_t keys,
                const float* factors, int64_t channels, float* out, int64_t out_row) {
  int64_t c = 0;
  for (; c + 2 * LANES <= channels; c += 2 * LANES)
    mix_panel<R, 2>(weights, row, step, value + c, value_row, keys, factors, out + c, out_row);
  for (; c < channels; c += LANES)
    mix_panel<R, 1>(weights, row, step, value + c, value_row, keys, factors, out + c, out_row);
}

// One head of one window.
struct Head {
  const float *query, *value;
  const float* keys;  // [channels, wide], scaled
  const float* bias;  // [rows, wide], or one row for all: the stride of its rows is 0
  float* out;
  float* received;  // [wide]: weights per key are added to it
  float* scores;    // [ROWS, wide]
  int64_t query_row, value_row, bias_row, out_row, count, wide, channels;
};

// Turn scores into softmax numerators, in place; return the inverse sums.
template <int R>
inline void exponentials(float* scores, int64_t wide, float* inverse) {
  Vec most[R], sum[R] = {};
  for (int i = 0; i < R; ++i) most[i] = all(LOWEST);
  for (int64_t j = 0; j < wide; j += LANES)
    for (int i = 0; i < R; ++i) most[i] = Larger()(load(scores + i * wide + j), most[i]);
  for (int i = 0; i < R; ++i) most[i] = all(across<LANES>(most[i], Larger()));
  for (int64_t j = 0; j < wide; j += LANES)
    for (int i = 0; i < R; ++i) {
      const Vec x = exponential(Larger()(all(-87.f), load(scores + i * wide + j) - most[i]));  // NaN is preserved
      store(scores + i * wide + j, x);
      sum[i] += x;
    }
  for (int i = 0; i < R; ++i) inverse[i] = 1 / across<LANES>(sum[i], Plus());
}

template <int R>
void attend_rows(const Head& head, int64_t row) {
  const int64_t wide = head.wide;
  float* const scores = head.scores;
  score<R, VECTORS>(head.query + row * head.query_row, head.query_row, head.keys, wide, head.channels,
                    head.bias + row * head.bias_row, head.bias_row, scores);
  float inverse[R];
  exponentials<R>(scores, wide, inverse);
  if (head.received)
    for (int64_t j = 0; j < wide; j += LANES) {
      Vec total = load(head.received + j);
      for (int i = 0; i < R; ++i) total += load(scores + i * wide + j) * inverse[i];
      store(head.received + j, total);
    }
  mix<R>(scores, wide, 1, head.value, head.value_row, head.count, inverse, head.channels, head.out + row * head.out_row,
         head.out_row);
}

// All rows: R at a time, then the remainder.
template <int R>
inline void attend_all(const Head& head, int64_t rows, int64_t from = 0) {
  int64_t row = from;
  for (; row + R <= rows; row += R) attend_rows<R>(head, row);
  if constexpr (R > 1) attend_all<R - 1>(head, rows, row);
}

}  // namespace

// softmax(factor * Q K^T + bias) V for windows x heads.
//
// query, key, value: [windows, heads, rows or count, channels] by the strides of their first three dimensions, with
// contiguous channels; bias: [heads, rows, count] by its strides, with NO_KEY in the columns up to the next multiple
// of LANES, or null; out: [windows, rows, heads, channels];
// received: [chunks_of(rows, chunk_rows), windows, heads, count] or null, sums of the weights over a chunk of queries.
extern "C" void attention(float* out, float* received, const float* query, const float* key, const float* value,
                          const float* bias, int64_t windows, int64_t heads, int64_t rows, int64_t count,
                          int64_t channels, int64_t chunk_rows, const int64_t* query_strides, const int64_t* key_strides,
                          const int64_t* value_strides, const int64_t* bias_strides, float factor) {
  const int64_t wide = (count + LANES - 1) / LANES * LANES, chunks = chunks_of(rows, chunk_rows), out_row = heads * channels;
  at::parallel_for(0, chunks * heads * windows, 1, [&](int64_t begin, int64_t end) {
    Room room((channels + ROWS + 2) * wide);
    float *keys = room.take(channels * wide), *scores = room.take(ROWS * wide), *sums = room.take(wide);
    float* const no_bias = room.take(wide);
    std::fill(no_bias, no_bias + count, 0.f);
    std::fill(no_bias + count, no_bias + wide, NO_KEY);
    for (int64_t task = begin; task < end; ++task) {
      // Process the heads of a window in sequence: their channels are adjacent in memory.
      const int64_t head = task % heads, window = task / heads % windows, chunk = task / heads / windows;
      const int64_t first = chunk * chunk_rows, tokens = std::min(chunk_rows, rows - first);
      const float* k = key + window * key_strides[0] + head * key_strides[1];
      for (int64_t j = 0; j < count; ++j, k += key_strides[2])
        for (int64_t c = 0; c < channels; ++c) keys[c * wide + j] = k[c] * factor;
      std::fill(sums, sums + wide, 0.f);
      const Head one{query + window * query_strides[0] + head * query_strides[1] + first * query_strides[2],
                     value + window * value_strides[0] + head * value_strides[1],
                     keys,
                     bias ? bias + head * bias_strides[0] + first * bias_strides[1] : no_bias,
                     out + (window * rows + first) * out_row + head * channels,
                     received ? sums : nullptr,
                     scores,
                     query_strides[2],
                     value_strides[2],
                     bias ? bias_strides[1] : 0,
                     out_row,
                     count,
                     wide,
                     channels};
      attend_all<ROWS>(one, tokens);
      if (received) std::memcpy(received + task * count, sums, count * sizeof(float));
    }
  });
}
