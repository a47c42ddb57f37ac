// SIMD vectors, functions on them, and aligned memory.
//
// A vector has the largest width that the processor supports.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, VECTORS = 4;
#elif defined(__AVX__)
constexpr int LANES = 8, VECTORS = 2;
#else
constexpr int LANES = 4, VECTORS = 2;
#endif

constexpr int64_t CHUNK = 256;     // tokens that one thread processes at a time
constexpr int64_t ALIGNMENT = 64;  // bytes of a cache line

template <int N>
struct Wide {
  typedef float Float __attribute__((vector_size(N * sizeof(float))));
  typedef int32_t Int __attribute__((vector_size(N * sizeof(float))));
};
using Vec = Wide<LANES>::Float;
using Int = Wide<LANES>::Int;

inline Vec load(const float* from) {
  Vec x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

inline void store(float* to, Vec x) { std::memcpy(to, &x, sizeof x); }

inline Vec all(float x) { return x - Vec{}; }

struct Larger {
  template <typename T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

struct Plus {
  template <typename T>
  T operator()(T a, T b) const {
    return a + b;
  }
};

// Reduction over the lanes of a vector.
template <int N, typename Combine>
inline float across(typename Wide<N>::Float x, Combine combine) {
  if constexpr (N == 2) {
    return combine(float(x[0]), float(x[1]));
  } else {
    typename Wide<N / 2>::Float halves[2];
    std::memcpy(halves, &x, sizeof x);
    return across<N / 2>(combine(halves[0], halves[1]), combine);
  }
}

// e^x for -87 <= x <= 0, accurate to 2 ulp: 2^n e^r with |r| <= ln(2) / 2, after Cephes.
inline Vec exponential(Vec x) {
  const Vec integral = all(12582912.f);  // 1.5 * 2^23: adding a number to it rounds the number to an integer
  const Vec shifted = x * all(1.44269504f) + integral;
  const Vec n = shifted - integral;
  const Vec r = x - n * all(0.693145752f) - n * all(1.42860677e-6f);
  Vec p = all(1.9875691500e-4f);
  p = p * r + all(1.3981999507e-3f);
  p = p * r + all(8.3334519073e-3f);
  p = p * r + all(4.1665795894e-2f);
  p = p * r + all(1.6666665459e-1f);
  p = p * r + all(5.0000001201e-1f);
  p = p * r * r + r + all(1.f);
  return (Vec)((Int)p + ((Int)shifted << 23));  // the lowest bits of `shifted` are n
}

// x (1 + erf(x / sqrt(2))) / 2 of N vectors at once, after Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7.
//
// Division is slow: the reciprocals of two vectors are computed by one division by their product.
template <int N>
inline void gelu(Vec (&x)[N]) {
  static_assert(N == 1 || N == 2);
  Vec u[N], denominator[N], t[N];
  for (int i = 0; i < N; ++i) {
    const Vec limit = all(9.3f);  // beyond it 1 - erf(u) is zero; clamps NaN, too, which would reach the other vector
    u[i] = Larger()(x[i], -x[i]) * all(0.707106781f);
    u[i] = u[i] < limit ? u[i] : limit;
    denominator[i] = all(1.f) + all(0.3275911f) * u[i];
  }
  if constexpr (N == 2) {
    const Vec inverse = all(1.f) / (denominator[0] * denominator[1]);
    t[0] = inverse * denominator[1], t[1] = inverse * denominator[0];
  } else {
    t[0] = all(1.f) / denominator[0];
  }
  for (int i = 0; i < N; ++i) {
    Vec p = all(1.061405429f);
    p = p * t[i] - all(1.453152027f);
    p = p * t[i] + all(1.421413741f);
    p = p * t[i] - all(0.284496736f);
    p = p * t[i] + all(0.254829592f);
    const Vec tail = p * t[i] * exponential(-u[i] * u[i]);  // 1 - erf(u)
    x[i] = all(0.5f) * (x[i] + Larger()(x[i], -x[i]) * (all(1.f) - tail));
  }
}

// GELU of contiguous vectors, in place.
inline void gelu_all(float* x, int64_t floats) {
  int64_t i = 0;
  for (; i + 2 * LANES <= floats; i += 2 * LANES) {
    Vec two[] = {load(x + i), load(x + i + LANES)};
    gelu(two);
    store(x + i, two[0]), store(x + i + LANES, two[1]);
  }
  if (i < floats) {
    Vec one[] = {load(x + i)};
    gelu(one);
    store(x + i, one[0]);
  }
}

// First address in a buffer at which a cache line begins.
inline float* aligned(float* start) {
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(start) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

// Memory aligned to cache lines.
class Room {
 public:
  explicit Room(int64_t floats) : held_(floats + ALIGNMENT / sizeof(float)), first_(aligned(held_.data())) {}
  float* take(int64_t floats) {
    float* const taken = first_;
    first_ += floats;
    return taken;
  }

 private:
  std::vector<float> held_;
  float* first_;
};

// Memory that a thread reuses in the next call: mapping new pages costs more than writing to them.
template <typename Purpose>
inline float* kept(int64_t floats) {
  thread_local std::vector<float> held;
  if (int64_t(held.size()) < floats + ALIGNMENT) held.resize(floats + ALIGNMENT);
  return aligned(held.data());
}

inline int64_t chunks_of(int64_t tokens, int64_t chunk = CHUNK) { return (tokens + chunk - 1) / chunk; }

}  // namespace
