// Depth-wise 3 x 3 convolution between two linear layers, computed in bands of rows.
//
// The maps between the layers are the widest of a model. Only one band of each is stored, in the caches.

#pragma once

#include <ATen/Parallel.h>

#include "products.h"
#include "vectors.h"

namespace {

constexpr int SIDE = 3, PLACES = 4;  // side of the kernel; adjacent outputs of a row that are computed together

struct Depthwise {
  const float* taps;  // [SIDE * SIDE, channels]
  const float* bias;  // [channels], or null
  int64_t width, channels;
  bool gelu;  // apply GELU
};

// Rows `from` to `to` of a map [height, width, channels]; rows outside the map are zeros.
struct Band {
  float* data;
  int64_t from, to;
};

// N adjacent outputs. places: SIDE x (N + SIDE - 1) tokens; added: added to the outputs, or null.
template <int N>
inline void convolve_places(const Depthwise& layer, const float* const (*places)[PLACES + SIDE - 1], const float* added,
                            float* out) {
  const int64_t channels = layer.channels;
  for (int64_t c = 0; c < channels; c += LANES) {
    Vec sum[N];
    for (int i = 0; i < N; ++i) sum[i] = layer.bias ? load(layer.bias + c) : Vec{};
    for (int y = 0; y < SIDE; ++y)
      for (int x = 0; x < SIDE; ++x) {
        const Vec tap = load(layer.taps + (y * SIDE + x) * channels + c);
        for (int i = 0; i < N; ++i) sum[i] += tap * load(places[y][x + i] + c);
      }
    for (int i = 0; i < N; ++i) {
      if (added) sum[i] += load(added + i * channels + c);
      store(out + i * channels + c, sum[i]);
    }
  }
  if (layer.gelu) gelu_all(out, N * channels);
}

// A row of outputs; zeros: [channels].
inline void convolve_row(const Depthwise& layer, const Band& band, int64_t row, const float* zeros, const float* added,
                         float* out) {
  const int64_t width = layer.width, channels = layer.channels;
  const auto token = [&](int64_t y, int64_t x) -> const float* {
    const bool outside = y < band.from || y >= band.to || x < 0 || x >= width;
    return outside ? zeros : band.data + ((y - band.from) * width + x) * channels;
  };
  for (int64_t x = 0; x < width; x += PLACES) {
    const float* places[SIDE][PLACES + SIDE - 1];
    for (int i = 0; i < SIDE; ++i)
      for (int j = 0; j < PLACES + SIDE - 1; ++j) places[i][j] = token(row + i - 1, x + j - 1);
    const float* const more = added ? added + x * channels : nullptr;
    float* const to = out + x * channels;
    switch (std::min<int64_t>(PLACES, width - x)) {
      case 1: convolve_places<1>(layer, places, more, to); break;
      case 2: convolve_places<2>(layer, places, more, to); break;
      case 3: convolve_places<3>(layer, places, more, to); break;
      default: convolve_places<PLACES>(layer, places, more, to);
    }
  }
}

// Rows `from` to `to` of a convolution, shared by all threads.
inline void convolve(const Depthwise& layer, const Band& band, int64_t from, int64_t to, const float* zeros,
                     const float* added, float* out) {
  const int64_t row = layer.width * layer.channels;
  at::parallel_for(from, to, 1, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y)
      convolve_row(layer, band, y, zeros, added ? added + (y - from) * row : nullptr, out + (y - from) * row);
  });
}

// First layer, convolution, second layer and residual of one map [height, width, ...].
inline void convolve_between(const Linear& first, const Depthwise& middle, const Linear& second, const float* x,
                             const float* added, const float* residual, float* out, int64_t height) {
  const int64_t width = middle.width, inner = width * middle.channels;
  const int64_t high = std::min(height, std::max<int64_t>(1, CHUNK * at::get_num_threads() / width));
  float* const zeros = kept<struct Hidden>(middle.channels + (2 * high + SIDE - 1) * inner);
  float* const convolved = zeros + middle.channels;
  Band band{convolved + high * inner, 0, 0};
  std::fill(zeros, zeros + middle.channels, 0.f);
  for (int64_t row = 0; row < height; row += high) {
    const int64_t end = std::min(height, row + high), below = std::min(height, end + 1), above = std::max<int64_t>(0, row - 1);
    // Move the rows that this band shares with the previous one to its beginning; compute the others.
    std::memmove(band.data, band.data + (above - band.from) * inner, (band.to - above) * inner * sizeof(float));
    band.from = above;
    multiply(first, x + band.to * width * first.in, band.data + (band.to - above) * inner, nullptr,
             (below - band.to) * width);
    band.to = below;
    convolve(middle, band, row, end, zeros, added ? added + row * inner : nullptr, convolved);
    multiply(second, convolved, out + row * width * second.out, residual + row * width * second.out,
             (end - row) * width);
  }
}

}  // namespace
