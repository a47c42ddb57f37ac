"""Small models of both families, and images, to test explanations."""

import torch

from msgformer.models import create_model

MSG = dict(embed_dim=16, depths=(2, 2, 2), num_heads=(1, 2, 4), window_size=4, shuffle_sizes=(4, 4, 4), num_classes=3)
SG = dict(embed_dims=(16, 32, 32, 32), depths=(2, 3, 4, 1), num_heads=(2, 2, 2, 2), num_classes=3)


def small_msg(**settings):
    torch.manual_seed(0)
    return create_model("msg_transformer_tiny", **{**MSG, **settings}).eval()


def small_sg(**settings):
    torch.manual_seed(0)
    return create_model("sgformer_small", **{**SG, **settings}).eval()


def noise(height, width, seed=1):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
