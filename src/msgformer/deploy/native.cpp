// Kernels for CPUs in float32: attention whose scores stay in the first cache, and GroupNorm with GELU in two passes.
// Compiled by native.py on the machine where they run, for its own vector instructions; kernels.py has the operators.
//
// A vector is the widest that the processor has. ROWS x VECTORS sums of products stay in its registers at a time.

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 5, VECTORS = 4;
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 4, VECTORS = 2;
#else
constexpr int LANES = 4, ROWS = 5, VECTORS = 4;
#endif

constexpr int64_t CHUNK = 256;     // tokens that one thread takes at a time
constexpr int64_t ALIGNMENT = 64;  // bytes of a cache line
constexpr float LEAST = -3e38f;    // below every score
constexpr float NO_KEY = -1e30f;   // bias of columns beyond the last key

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

// All lanes of a vector, combined.
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

// e^x for x <= 0, to the last digit but one: 2^n e^r with |r| <= ln(2) / 2, after Cephes.
inline Vec exponential(Vec x) {
  x = Larger()(all(-87.f), x);           // a NaN stays one
  const Vec integral = all(12582912.f);  // 1.5 * 2^23: what is added to it is rounded to an integer
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
  return (Vec)((Int)p + ((Int)shifted << 23));  // n is in the lowest bits of the shifted number
}

// x (1 + erf(x / sqrt(2))) / 2, after Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7.
inline Vec gelu(Vec x) {
  const Vec magnitude = Larger()(x, -x);
  const Vec u = magnitude * all(0.707106781f);
  const Vec t = all(1.f) / (all(1.f) + all(0.3275911f) * u);
  Vec p = all(1.061405429f);
  p = p * t - all(1.453152027f);
  p = p * t + all(1.421413741f);
  p = p * t - all(0.284496736f);
  p = p * t + all(0.254829592f);
  const Vec tail = p * t * exponential(-u * u);  // 1 - erf(u)
  return all(0.5f) * (x + magnitude * (all(1.f) - tail));
}

// Memory that lies where cache lines begin.
class Room {
 public:
  explicit Room(int64_t floats) : held_(floats + ALIGNMENT / sizeof(float)) {
    const auto start = reinterpret_cast<uintptr_t>(held_.data());
    first_ = reinterpret_cast<float*>((start + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  }
  float* take(int64_t floats) {
    float* const taken = first_;
    first_ += floats;
    return taken;
  }

 private:
  std::vector<float> held_;
  float* first_;
};

// R queries times C vectors of keys, keys as [channels, wide]; the bias is what sums begin with.
template <int R, int C>
inline void score_panel(const float* query, int64_t query_row, const float* keys, int64_t wide, int64_t channels,
                        const float* bias, int64_t bias_row, float* scores) {
  Vec sum[R][C];
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) sum[i][j] = load(bias + i * bias_row + j * LANES);
  for (int64_t c = 0; c < channels; ++c) {
    Vec key[C];
    for (int j = 0; j < C; ++j) key[j] = load(keys + c * wide + j * LANES);
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < C; ++j) sum[i][j] += query[i * query_row + c] * key[j];
  }
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) store(scores + i * wide + j * LANES, sum[i][j]);
}

// The same for all keys: panels of C vectors, then the rest.
template <int R, int C>
inline void score(const float* query, int64_t query_row, const float* keys, int64_t wide, int64_t channels,
                  const float* bias, int64_t bias_row, float* scores, int64_t from = 0) {
  int64_t j = from;
  for (; j + C * LANES <= wide; j += C * LANES)
    score_panel<R, C>(query, query_row, keys + j, wide, channels, bias + j, bias_row, scores + j);
  if constexpr (C > 1) score<R, C - 1>(query, query_row, keys, wide, channels, bias, bias_row, scores, j);
}

// R rows of weights times C vectors of values' channels, each row divided by its sum.
template <int R, int C>
inline void mix_panel(const float* weights, int64_t wide, const float* value, int64_t value_row, int64_t keys,
                      const float* inverse, float* out, int64_t out_row) {
  Vec sum[R][C] = {};
  for (int64_t k = 0; k < keys; ++k) {
    Vec one[C];
    for (int j = 0; j < C; ++j) one[j] = load(value + k * value_row + j * LANES);
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < C; ++j) sum[i][j] += weights[i * wide + k] * one[j];
  }
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) store(out + i * out_row + j * LANES, sum[i][j] * inverse[i]);
}

inline int64_t chunks_of(int64_t tokens, int64_t chunk = CHUNK) { return (tokens + chunk - 1) / chunk; }

// One head of one window.
struct Head {
  const float *query, *value;
  const float* keys;  // [channels, wide], scaled
  const float* bias;  // [rows, wide], or one row for all: the stride of its rows is 0
  float* out;
  float* received;  // [wide]: what keys receive is added to it
  float* scores;    // [ROWS, wide]
  int64_t query_row, value_row, bias_row, out_row, count, wide, channels;
};

// Scores to what softmax divides by its sum; returns one over the sums.
template <int R>
inline void exponentials(float* scores, int64_t wide, float* inverse) {
  Vec most[R], sum[R] = {};
  for (int i = 0; i < R; ++i) most[i] = all(LEAST);
  for (int64_t j = 0; j < wide; j += LANES)
    for (int i = 0; i < R; ++i) most[i] = Larger()(load(scores + i * wide + j), most[i]);
  for (int i = 0; i < R; ++i) most[i] = all(across<LANES>(most[i], Larger()));
  for (int64_t j = 0; j < wide; j += LANES)
    for (int i = 0; i < R; ++i) {
      const Vec x = exponential(load(scores + i * wide + j) - most[i]);
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
  float* const out = head.out + row * head.out_row;
  int64_t c = 0;
  for (; c + 2 * LANES <= head.channels; c += 2 * LANES)
    mix_panel<R, 2>(scores, wide, head.value + c, head.value_row, head.count, inverse, out + c, head.out_row);
  for (; c < head.channels; c += LANES)
    mix_panel<R, 1>(scores, wide, head.value + c, head.value_row, head.count, inverse, out + c, head.out_row);
}

// All rows: R at a time, then the rest.
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
// channels side by side; bias: [heads, rows, count] by its strides, with NO_KEY in the columns up to the next multiple
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
      // Heads of a window one after the other: their channels are neighbours in memory.
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

namespace {

// Sum and sum of squares of some tokens.
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

// GroupNorm of one group, then GELU if it is wanted, in place: [batch, tokens, channels].
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
      for (int64_t token = begin * CHUNK; token < std::min(end * CHUNK, tokens); ++token)
        for (int64_t c = 0; c < channels; c += LANES) {
          float* const place = x + token * channels + c;
          const Vec normed = load(place) * load(scale + c) + load(shift + c);
          store(place, with_gelu ? gelu(normed) : normed);
        }
    });
  }
}
