// Linear layers with weights in panels, which are read once and in order.
//
// A panel holds WIDTH output columns (the last panel the remainder) as [in, columns]. Products of HIGH rows and a panel
// are accumulated in registers. Library products wait for each part of the weight to arrive from memory, and need
// separate passes for the norm before and the sum after them.

#pragma once

#include <ATen/Parallel.h>

#include "tiles.h"

namespace {

#if defined(__AVX512F__)
constexpr int HIGH = 6;
#else
constexpr int HIGH = 4;
#endif

constexpr int64_t WIDTH = VECTORS * LANES;
constexpr int64_t DEPTH = 256;  // depth of a part of a panel; a part stays in the L1 and L2 caches

struct Linear {
  const float* panels;
  const float* bias;  // [out], or null
  int64_t in, out;
  float eps;  // of a preceding LayerNorm without weights, or negative for none
  bool gelu;  // apply GELU
};

// Product of R rows and V vectors of a panel, added to `start`; data of the next part is prefetched.
template <int R, int V>
inline void multiply_tile(const float* x, int64_t x_row, const float* panel, int64_t depth, const float* start,
                          int64_t start_row, float* out, int64_t out_row, const char* next, int64_t next_step) {
  Tile<R, V> sum;
  load_tile<R, V>(sum, start, start_row);
  add_products<R, V>(sum, x, x_row, 1, panel, V * LANES, depth,
                     [=](int64_t k) { __builtin_prefetch(next + k * next_step, 0, 2); });
  store_tile<R, V>(sum, out, out_row);
}

// Finish a tile: apply GELU, or add a residual.
inline void finish_tile(float* out, const float* residual, int64_t rows, int64_t columns, int64_t row, bool with_gelu) {
  for (int64_t i = 0; i < rows; ++i, out += row) {
    if (with_gelu) gelu_all(out, columns);
    if (!residual) continue;
    for (int64_t j = 0; j < columns; j += LANES) store(out + j, load(out + j) + load(residual + i * row + j));
  }
}

// Product of the rows of a block and one panel of V vectors.
template <int V>
void multiply_panel(const Linear& linear, const float* x, const float* panel, const float* start, float* out,
                    const float* residual, int64_t rows) {
  const int64_t tiles = chunks_of(rows, HIGH), parts = chunks_of(linear.in, DEPTH);
  // Prefetches of the next part are spread over the steps of all tiles; some lines are prefetched more than once.
  const int64_t step = std::max<int64_t>(sizeof(float), chunks_of(V * LANES * sizeof(float), tiles));
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t from = linear.in * part / parts, depth = linear.in * (part + 1) / parts - from;
    const float* const weights = panel + from * V * LANES;
    const char* const next = reinterpret_cast<const char*>(weights + depth * V * LANES);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = rows * tile / tiles, high = rows * (tile + 1) / tiles - row;
      float* const to = out + row * linear.out;
      const auto multiply = [&]<int R>(const auto& smaller, std::integral_constant<int, R>) -> void {
        if (high == R)
          multiply_tile<R, V>(x + row * linear.in + from, linear.in, weights, depth, part ? to : start,
                              part ? linear.out : 0, to, linear.out, next + tile * depth * step, step);
        else if constexpr (R > 1)
          smaller(smaller, std::integral_constant<int, R - 1>());
      };
      multiply(multiply, std::integral_constant<int, HIGH>());
      if (part + 1 == parts && (residual || linear.gelu))
        finish_tile(to, residual ? residual + row * linear.out : nullptr, high, V * LANES, linear.out, linear.gelu);
    }
  }
}

// Product of the rows of a block and a panel of any number of vectors.
template <int V = VECTORS>
inline void multiply_panel_of(int64_t vectors, const Linear& linear, const float* x, const float* panel,
                              const float* start, float* out, const float* residual, int64_t rows) {
  if (vectors == V) return multiply_panel<V>(linear, x, panel, start, out, residual, rows);
  if constexpr (V > 1) multiply_panel_of<V - 1>(vectors, linear, x, panel, start, out, residual, rows);
}

// LayerNorm without weights on a range of rows.
inline void normalize(const float* x, float* out, int64_t rows, int64_t channels, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += channels, out += channels) {
    Vec total = {}, squares = {};
    for (int64_t c = 0; c < channels; c += LANES) total += load(x + c);
    const Vec mean = all(across<LANES>(total, Plus()) / channels);
    for (int64_t c = 0; c < channels; c += LANES) {
      const Vec centered = load(x + c) - mean;
      squares += centered * centered;
    }
    const Vec inverse = all(1 / std::sqrt(across<LANES>(squares, Plus()) / channels + eps));
    for (int64_t c = 0; c < channels; c += LANES) store(out + c, (load(x + c) - mean) * inverse);
  }
}

// Product of a range of rows and a range of panels, by one thread.
inline void multiply_some(const Linear& linear, const float* x, float* out, const float* residual, int64_t rows,
                          int64_t first_panel, int64_t last_panel) {
  static constexpr float none[WIDTH] = {};
  for (int64_t row = 0; row < rows; row += CHUNK) {
    const int64_t high = std::min(CHUNK, rows - row);
    const float* from = x + row * linear.in;
    if (linear.eps >= 0) {
      float* const normed = kept<struct Normed>(CHUNK * linear.in);
      normalize(from, normed, high, linear.in, linear.eps);
      from = normed;
    }
    for (int64_t column = first_panel * WIDTH; column < std::min(last_panel * WIDTH, linear.out); column += WIDTH)
      multiply_panel_of(std::min(WIDTH, linear.out - column) / LANES, linear, from, linear.panels + column * linear.in,
                        linear.bias ? linear.bias + column : none, out + row * linear.out + column,
                        residual ? residual + row * linear.out + column : nullptr, high);
  }
}

// x [rows, in] to [rows, out] by all threads, which share the rows, or the panels if there are few rows.
inline void multiply(const Linear& linear, const float* x, float* out, const float* residual, int64_t rows) {
  const int64_t threads = at::get_num_threads(), panels = chunks_of(linear.out, WIDTH);
  const int64_t groups = rows < CHUNK * threads ? std::min(threads, panels) : 1;
  const int64_t blocks = std::max<int64_t>(1, std::min(chunks_of(threads, groups), rows));
  at::parallel_for(0, blocks * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / groups, group = task % groups;
      const int64_t row = rows * block / blocks, high = rows * (block + 1) / blocks - row;
      multiply_some(linear, x + row * linear.in, out + row * linear.out, residual ? residual + row * linear.out : nullptr,
                    high, panels * group / groups, panels * (group + 1) / groups);
    }
  });
}

}  // namespace
