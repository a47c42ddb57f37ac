// GroupNorm with GELU in two passes.

#pragma once

#include <ATen/Parallel.h>

#include "vectors.h"

namespace {

// Sum and sum of squares of a range of tokens.
inline void moments(const float* x, int64_t floats, double* sum, double* squares) {
  Vec first = {}, second = {};
  for (int64_t i = 0; i < floats; i += LANES) {
    const Vec one = load(x + i);
    first += one;
    second += one * one;
  }
  *sum += across<LANES>(first, Plus());
  *squares += across<LANES>(second, Plus());
}

}  // namespace

// GroupNorm with one group, then optional GELU, in place: [batch, tokens, channels].
extern "C" void norm_gelu(float* x, const float* weight, const float* bias, int64_t batch, int64_t tokens,
                          int64_t channels, double eps, bool with_gelu) {
  const int64_t chunks = chunks_of(tokens);
  for (int64_t image = 0; image < batch; ++image, x += tokens * channels) {
    std::vector<double> sums(chunks), squares(chunks);
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin * CHUNK; token < std::min(end * CHUNK, tokens); ++token)
        moments(x + token * channels, channels, &sums[token / CHUNK], &squares[token / CHUNK]);
    });
    double sum = 0, square = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += sums[chunk], square += squares[chunk];
    const double mean = sum / (tokens * channels), variance = square / (tokens * channels) - mean * mean;
    const double inverse = 1 / std::sqrt(std::max(variance, 0.) + eps);
    Room room(2 * channels);
    float *scale = room.take(channels), *shift = room.take(channels);
    for (int64_t c = 0; c < channels; ++c) {
      scale[c] = float(weight[c] * inverse);
      shift[c] = float(bias[c] - mean * inverse * weight[c]);
    }
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin * CHUNK; token < std::min(end * CHUNK, tokens); ++token) {
        float* const place = x + token * channels;
        for (int64_t c = 0; c < channels; c += LANES)
          store(place + c, load(place + c) * load(scale + c) + load(shift + c));
        if (with_gelu) gelu_all(place, channels);
      }
    });
  }
}
