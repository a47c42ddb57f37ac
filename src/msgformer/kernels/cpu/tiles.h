// Tiles of dot products in registers, the building block of products and attention.

#pragma once

#include "vectors.h"

namespace {

template <int R, int V>
using Tile = Vec[R][V];

// A tile of R rows that starts at `start`.
template <int R, int V>
inline void load_tile(Tile<R, V>& tile, const float* start, int64_t row) {
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < V; ++j) tile[i][j] = load(start + i * row + j * LANES);
}

template <int R, int V>
inline void store_tile(const Tile<R, V>& tile, float* out, int64_t row) {
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < V; ++j) store(out + i * row + j * LANES, tile[i][j]);
}

// Add left [R, depth] (elements of a row are `left_step` apart) times right [depth, V vectors]; `ahead` is called at
// each step with the index of the step.
template <int R, int V, typename Ahead>
inline void add_products(Tile<R, V>& tile, const float* left, int64_t left_row, int64_t left_step, const float* right,
                         int64_t right_row, int64_t depth, Ahead ahead) {
  for (int64_t k = 0; k < depth; ++k) {
    Vec one[V];
    for (int j = 0; j < V; ++j) one[j] = load(right + k * right_row + j * LANES);
    ahead(k);
    for (int i = 0; i < R; ++i) {
      const Vec factor = all(left[i * left_row + k * left_step]);
      for (int j = 0; j < V; ++j) tile[i][j] += factor * one[j];
    }
  }
}

template <int R, int V>
inline void add_products(Tile<R, V>& tile, const float* left, int64_t left_row, int64_t left_step, const float* right,
                         int64_t right_row, int64_t depth) {
  add_products<R, V>(tile, left, left_row, left_step, right, right_row, depth, [](int64_t) {});
}

}  // namespace
