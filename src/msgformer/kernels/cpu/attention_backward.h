// Gradients of window attention. Attention weights are recomputed: storing them would take most of the memory.

#pragma once

#include "attention.h"

namespace {

// One head, one window after the other; rows of [tokens, wide] are queries.
struct Backward {
  const float* bias;  // [tokens, wide]
  const float* seen;  // [wide]: 1 for keys, 0 beyond the last
  float *keys, *values;  // [channels, wide], keys scaled
  float *weights, *score_grads, *bias_grads;  // [tokens, wide]
  int64_t row, grad_row, bias_row, tokens, wide, channels;
  float factor;
};

// R rows of attention weights and of score gradients; the latter are also added to the gradient of the bias.
template <int R>
inline void differentiate_rows(const Backward& head, const float* query, const float* grad, int64_t row) {
  const int64_t wide = head.wide;
  float *weights = head.weights + row * wide, *grads = head.score_grads + row * wide;
  float* const total = head.bias_grads + row * wide;
  score<R, VECTORS>(query + row * head.row, head.row, head.keys, wide, head.channels, head.bias + row * head.bias_row,
                    head.bias_row, weights);
  std::fill(grads, grads + R * wide, 0.f);
  score<R, VECTORS>(grad + row * head.grad_row, head.grad_row, head.values, wide, head.channels, grads, wide, grads);
  float inverse[R];
  exponentials<R>(weights, wide, inverse);
  for (int i = 0; i < R; ++i) {
    Vec sum = {};
    for (int64_t j = i * wide, k = 0; k < wide; j += LANES, k += LANES) {
      const Vec weight = load(weights + j) * load(head.seen + k) * inverse[i];
      store(weights + j, weight);
      sum += weight * load(grads + j);
    }
    // Gradient of the softmax: dS = P * (dP - rowsum(P * dP)).
    const Vec shared = all(across<LANES>(sum, Plus()));
    for (int64_t j = i * wide; j < (i + 1) * wide; j += LANES) {
      const Vec score_grad = load(weights + j) * (load(grads + j) - shared);
      store(grads + j, score_grad);
      store(total + j, load(total + j) + score_grad);
    }
  }
}

// out = factor * left * right, with left [tokens, tokens] read by rows or columns: R rows at a time.
template <int R>
inline void mix_all(const float* left, int64_t row, int64_t step, const float* right, int64_t right_row, int64_t tokens,
                    int64_t channels, float factor, float* out, int64_t out_row, int64_t from = 0) {
  float factors[R];
  std::fill(factors, factors + R, factor);
  int64_t i = from;
  for (; i + R <= tokens; i += R)
    mix<R>(left + i * row, row, step, right, right_row, tokens, factors, channels, out + i * out_row, out_row);
  if constexpr (R > 1)
    mix_all<R - 1>(left, row, step, right, right_row, tokens, channels, factor, out, out_row, i);
}

template <int R>
inline void differentiate_all(const Backward& head, const float* query, const float* grad, int64_t from = 0) {
  int64_t row = from;
  for (; row + R <= head.tokens; row += R) differentiate_rows<R>(head, query, grad, row);
  if constexpr (R > 1) differentiate_all<R - 1>(head, query, grad, row);
}

// Gradients [tokens, channels] of a window's queries, keys and values, which are `part` apart in memory.
inline void differentiate_window(const Backward& head, const float* query, const float* grad, float* grads, int64_t part) {
  const float *key = query + part, *value = key + part;
  for (int64_t j = 0; j < head.tokens; ++j)
    for (int64_t c = 0; c < head.channels; ++c) {
      head.keys[c * head.wide + j] = key[j * head.row + c] * head.factor;
      head.values[c * head.wide + j] = value[j * head.row + c];
    }
  differentiate_all<ROWS>(head, query, grad);
  const int64_t wide = head.wide, row = head.row, tokens = head.tokens, channels = head.channels;
  mix_all<ROWS>(head.score_grads, wide, 1, key, row, tokens, channels, head.factor, grads, row);
  mix_all<ROWS>(head.score_grads, 1, wide, query, row, tokens, channels, head.factor, grads + part, row);
  mix_all<ROWS>(head.weights, 1, wide, grad, head.grad_row, tokens, channels, 1, grads + 2 * part, row);
}

}  // namespace

// Gradients of softmax(factor * Q K^T + bias) V for windows x heads, with as many queries as keys.
//
// qkv and grads: [windows, tokens, 3, heads, channels]; grad, of the output: [windows, tokens, heads, channels];
// bias: see attention(); bias_grads: [parts, heads, tokens, tokens], partial sums over windows.
extern "C" void attention_backward(float* grads, float* bias_grads, const float* grad, const float* qkv,
                                   const float* bias, int64_t windows, int64_t heads, int64_t tokens, int64_t channels,
                                   int64_t parts, const int64_t* bias_strides, float factor) {
  const int64_t wide = (tokens + LANES - 1) / LANES * LANES, all_channels = heads * channels;
  at::parallel_for(0, parts * heads, 1, [&](int64_t begin, int64_t end) {
    Room room((2 * channels + 3 * tokens + 1) * wide);
    float *keys = room.take(channels * wide), *values = room.take(channels * wide), *weights = room.take(tokens * wide);
    float *score_grads = room.take(tokens * wide), *total = room.take(tokens * wide), *seen = room.take(wide);
    std::fill(seen, seen + tokens, 1.f);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t part = task / heads, head = task % heads;
      const Backward one{bias + head * bias_strides[0], seen, keys, values, weights, score_grads, total, 3 * all_channels,
                         all_channels, bias_strides[1], tokens, wide, channels, factor};
      std::fill(total, total + tokens * wide, 0.f);
      for (int64_t window = windows * part / parts; window < windows * (part + 1) / parts; ++window) {
        const int64_t first = window * tokens * all_channels + head * channels, place = first + 2 * window * tokens * all_channels;
        differentiate_window(one, qkv + place, grad + first, grads + place, all_channels);
      }
      float* const to = bias_grads + task * tokens * tokens;
      for (int64_t i = 0; i < tokens; ++i)
        std::memcpy(to + i * tokens, total + i * wide, tokens * sizeof(float));
    }
  });
}
