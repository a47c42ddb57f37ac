// CPU kernels in float32, compiled by library.py on the local machine for its vector instructions.
//
// Tensors are contiguous where no strides are given, and channels are a multiple of 16, which is a multiple of every
// processor's vector width.

#include "attention.h"
#include "attention_backward.h"
#include "depthwise.h"
#include "norms.h"
#include "products.h"
#include "reallocation.h"

// Pack the weight of a linear layer [out, in] to panels [in, WIDTH].
extern "C" void pack(float* panels, const float* weight, int64_t out, int64_t in) {
  at::parallel_for(0, chunks_of(out, WIDTH), 1, [&](int64_t begin, int64_t end) {
    for (int64_t column = begin * WIDTH; column < std::min(end * WIDTH, out); column += WIDTH) {
      const int64_t wide = std::min(WIDTH, out - column);
      for (int64_t k = 0; k < in; ++k)
        for (int64_t j = 0; j < wide; ++j) panels[column * in + k * wide + j] = weight[(column + j) * in + k];
    }
  });
}

// x [rows, in] to [rows, out]: LayerNorm without weights if eps >= 0, the product, then optional GELU, or addition of
// residual [rows, out] unless it is null.
extern "C" void linear(float* out, const float* x, const float* panels, const float* bias, const float* residual,
                       int64_t rows, int64_t in, int64_t columns, float eps, bool gelu) {
  multiply({panels, bias, in, columns, eps, gelu}, x, out, residual, rows);
}

// x + fc2(GELU(fc1(norm(x)))) of [rows, channels], in blocks of rows whose hidden channels fit in the caches.
extern "C" void mlp(float* out, const float* x, const float* panels1, const float* bias1, const float* panels2,
                    const float* bias2, int64_t rows, int64_t channels, int64_t hidden_channels, float eps) {
  const Linear first{panels1, bias1, channels, hidden_channels, eps, true};
  const Linear second{panels2, bias2, hidden_channels, channels, -1, false};
  const int64_t most = CHUNK * at::get_num_threads(), blocks = chunks_of(rows, most);
  float* const hidden = kept<struct Hidden>(std::min(most, rows) * hidden_channels);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t row = rows * block / blocks, high = rows * (block + 1) / blocks - row, place = row * channels;
    multiply(first, x + place, hidden, nullptr, high);
    multiply(second, hidden, out + place, x + place, high);
  }
}

// x + proj(attention(qkv(norm(x)))) of [windows, tokens, channels], in groups of windows whose queries, keys and values
// fit in the caches; for the bias see attention().
extern "C" void window_attention(float* out, const float* x, const float* qkv_panels, const float* qkv_bias,
                                 const float* proj_panels, const float* proj_bias, const float* bias,
                                 int64_t windows, int64_t tokens, int64_t channels, int64_t heads, int64_t chunk_rows,
                                 const int64_t* bias_strides, float eps, float factor) {
  const Linear qkv{qkv_panels, qkv_bias, channels, 3 * channels, eps, false};
  const Linear proj{proj_panels, proj_bias, channels, channels, -1, false};
  const int64_t most = std::max<int64_t>(1, CHUNK / tokens) * at::get_num_threads(), blocks = chunks_of(windows, most);
  const int64_t depth = channels / heads, strides[] = {3 * channels * tokens, depth, 3 * channels};
  float* const query = kept<struct Query>(std::min(most, windows) * tokens * 4 * channels);
  float* const mixed = query + std::min(most, windows) * tokens * 3 * channels;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t window = windows * block / blocks, count = windows * (block + 1) / blocks - window;
    const int64_t place = window * tokens * channels;
    multiply(qkv, x + place, query, nullptr, count * tokens);
    attention(mixed, nullptr, query, query + channels, query + 2 * channels, bias, count, heads, tokens, tokens, depth,
              chunk_rows, strides, strides, strides, bias_strides, factor);
    multiply(proj, mixed, out + place, x + place, count * tokens);
  }
}

// residual + second(conv(first(norm(x)))) of [batch, height, width, ...], with a depth-wise 3 x 3 convolution. The norm
// is applied if eps >= 0; `added` [.., hidden] is added to the output of the convolution unless it is null; GELU is
// optional. taps: [9, hidden].
extern "C" void conv_between(float* out, const float* x, const float* panels1, const float* bias1, const float* taps,
                             const float* tap_bias, const float* panels2, const float* bias2, const float* added,
                             const float* residual, int64_t batch, int64_t height, int64_t width, int64_t channels,
                             int64_t hidden, int64_t columns, float eps, bool gelu) {
  const Linear first{panels1, bias1, channels, hidden, eps, false}, second{panels2, bias2, hidden, columns, -1, false};
  const Depthwise middle{taps, tap_bias, width, hidden, gelu};
  const int64_t tokens = height * width;
  for (int64_t image = 0; image < batch; ++image)
    convolve_between(first, middle, second, x + image * tokens * channels,
                     added ? added + image * tokens * hidden : nullptr, residual + image * tokens * columns,
                     out + image * tokens * columns, height);
}

// LayerNorm of x [rows, channels], then optional GELU.
extern "C" void layer_norm(float* out, const float* x, const float* weight, const float* bias, int64_t rows,
                           int64_t channels, float eps, bool with_gelu) {
  at::parallel_for(0, rows, CHUNK, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* const to = out + row * channels;
      normalize(x + row * channels, to, 1, channels, eps);
      for (int64_t c = 0; c < channels; c += LANES)
        store(to + c, load(to + c) * load(weight + c) + load(bias + c));
      if (with_gelu) gelu_all(to, channels);
    }
  });
}

// Rank tokens by significance [batch, height, width]: raster indices [2, batch, height * width], least significant
// first, with ties in row-major, then in column-major order.
extern "C" void rank_twice(int64_t* orders, const float* significance, int64_t batch, int64_t height, int64_t width) {
  const int64_t tokens = height * width;
  at::parallel_for(0, 2 * batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t one = begin; one < end; ++one)
      rank_tokens(significance + one % batch * tokens, height, width, one >= batch, orders + one * tokens);
  });
}

// Merge tokens x [batch, tokens, channels] in several orders per image, [orders * batch, tokens], to
// [orders * batch, merged, channels]. Each of `kinds` kinds merges `groups` tokens at a time, up to rank `ends`, with
// its part of the weights [sum of groups] and its bias of biases [kinds]. Zeros complete the last group of a kind.
extern "C" void merge_ranked(float* out, const float* x, const int64_t* orders, const float* weights,
                             const float* biases, const int64_t* groups, const int64_t* ends, int64_t kinds,
                             int64_t number, int64_t batch, int64_t tokens, int64_t channels, int64_t merged) {
  at::parallel_for(0, number * batch * merged, CHUNK / 16, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / merged;
      int64_t left = task % merged, start = 0, kind = 0;
      const float* weight = weights;
      for (; kind < kinds; ++kind) {  // each kind has at least one group, possibly of zeros
        const int64_t count = std::max<int64_t>(1, chunks_of(ends[kind] - start, groups[kind]));
        if (left < count) break;
        left -= count;
        start = ends[kind];
        weight += groups[kind];
      }
      start += left * groups[kind];
      const int64_t present = std::max<int64_t>(0, std::min(groups[kind], ends[kind] - start));
      merge_group(x + row % batch * tokens * channels, orders + row * tokens + start, present, weight, biases[kind],
                  channels, out + task * channels);
    }
  });
}
