"""Run each C++ kernel with one and with several threads, and print those whose results differ.

It is a separate process, because its threads would not survive a fork in other tests.
"""

import torch
from torch import nn

from msgformer.kernels.cpu.attention import WindowAttention, pad_bias
from msgformer.optimized import products
from msgformer.optimized.ops import attend, attend_and_measure, norm_gelu, norm_tokens
from msgformer.optimized.ranking import native_merge, native_rank

EPS = 1e-6


def numbers(*size):
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size)))


def results():
    """What each kernel gives, in shapes that are shared among threads in different ways."""
    norm, group_norm = nn.LayerNorm(64), nn.GroupNorm(1, 32)
    narrow, wide, taps = products.pack(numbers(64, 64)), products.pack(numbers(192, 64)), numbers(9, 192)
    image = numbers(1, 32, 40, 40).to(memory_format=torch.channels_last)
    orders = native_rank(numbers(2, 20, 20))
    yield "attention", attend([numbers(70, 26, 192)], 2, pad_bias(numbers(1, 2, 26, 26)))
    yield "attention that measures", torch.cat([*map(torch.flatten, attend_and_measure([numbers(2, 600, 192)], 2))])
    yield "group norm", norm_gelu(group_norm, image, activate=True)
    yield "norm", norm_tokens(norm, numbers(1500, 64))
    yield "ranks", orders
    yield "merging", native_merge(numbers(2, 20, 20, 64), orders, numbers(9), numbers(2), [7, 2], [100, 400])
    with torch.inference_mode(False), torch.enable_grad():
        inputs = [numbers(70, 26, 3, 2, 32).requires_grad_(), numbers(1, 2, 26, 26).requires_grad_()]
        for one, grad in zip(inputs, torch.autograd.grad(WindowAttention.apply(*inputs).sum(), inputs), strict=True):
            yield f"gradient of {tuple(one.shape)}", grad
    for rows in (3, 200, 1500):
        x = numbers(rows, 64)
        yield f"linear layer of {rows}", products.linear(x, wide, numbers(192), None, EPS, False)
        yield f"MLP of {rows}", products.mlp(x, wide, None, products.pack(numbers(64, 192)), None, EPS)
    for windows in (1, 4, 70):
        x = numbers(windows, 26, 64)
        out = products.window_attention(x, wide, None, narrow, None, pad_bias(numbers(1, 2, 26, 26)), 2, EPS)
        yield f"attention in {windows} windows", out
    for size in ((2, 5, 3), (1, 40, 20), (1, 3, 600)):
        x, layers = numbers(*size, 64), (wide, None, taps, None, products.pack(numbers(64, 192)), None)
        yield f"convolution of {size}", products.conv_between(x, *layers, None, x, EPS, True)


if __name__ == "__main__":
    with torch.inference_mode():
        torch.set_num_threads(1)
        expected = dict(results())
        for threads in (2, 5):
            torch.set_num_threads(threads)
            for name, outcome in results():
                if not torch.equal(outcome, expected[name]):
                    print(f"{name} with {threads} threads")
