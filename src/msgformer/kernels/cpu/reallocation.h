// SG-Former's token reallocation: rank tokens by significance, and merge groups of ranked tokens.

#pragma once

#include <ATen/Parallel.h>

#include "vectors.h"

namespace {

// Map a float to an integer of the same order; NaN is last.
inline uint64_t as_ordered(float x) {
  if (std::isnan(x)) return UINT32_MAX;
  x += 0.f;  // both zeros are equal
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof x);
  return bits >> 31 ? ~bits : bits | 1u << 31;
}

// Raster indices of the tokens of a map [height, width], least significant first; ties in row- or column-major order.
inline void rank_tokens(const float* significance, int64_t height, int64_t width, bool by_column, int64_t* order) {
  const int64_t tokens = height * width;
  std::vector<uint64_t> keys(tokens);  // significance, then the index that breaks ties
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const int64_t turn = by_column ? x * height + y : y * width + x;
      keys[turn] = as_ordered(significance[y * width + x]) << 32 | uint64_t(turn);
    }
  std::sort(keys.begin(), keys.end());
  for (int64_t rank = 0; rank < tokens; ++rank) {
    const int64_t turn = keys[rank] & UINT32_MAX;
    order[rank] = by_column ? turn % height * width + turn / height : turn;
  }
}

// Merge a group of tokens [count, channels], given by their indices, to [channels]; channels share the weights.
inline void merge_group(const float* tokens, const int64_t* places, int64_t count, const float* weights, float bias,
                        int64_t channels, float* out) {
  std::fill(out, out + channels, bias);
  for (int64_t i = 0; i < count; ++i) {
    const float* const token = tokens + places[i] * channels;
    for (int64_t c = 0; c < channels; c += LANES) store(out + c, load(out + c) + weights[i] * load(token + c));
  }
}

}  // namespace
