"""Small models of every kind, by name and arguments."""

import torch

from msgformer.models import create_model

MSG = {"embed_dim": 32, "num_heads": (1, 2, 4, 8), "depths": (2, 1, 1, 1), "shuffle_sizes": (4, 4, 4, 4)}
SG = {"embed_dims": (32, 64, 128, 256), "depths": (2, 2, 1, 1)}

FAMILIES = {
    "msg": ("msg_transformer_tiny", MSG),
    "msg v1": ("msg_transformer_v1_tiny", MSG),
    "sg": ("sgformer_small", SG),
}

VARIANTS = {
    **FAMILIES,
    **{f"exchange {name}": ("msg_transformer_tiny", {**MSG, "exchange": name})
       for name in ("none", "mean", "mlp", "attention", "shift")},
    **{f"messengers {name}": ("msg_transformer_tiny", {**MSG, "messengers": name})
       for name in ("random_eval", "random", "none", "shared", "overlapping")},
    **{f"attention {name}": ("sgformer_small", {**SG, "attention": name}) for name in ("local", "global")},
    **{f"reallocation {name}": ("sgformer_small", {**SG, "reallocation": name})
       for name in ("one_order", "uniform", "random")},
    "no local position": ("sgformer_small", {**SG, "local_position": False}),
}  # fmt: skip
"""The families, and each extension and ablation of theirs."""


def make(variant, **kwargs):
    """A variant in evaluation mode, always with the same weights."""
    name, args = VARIANTS[variant]
    torch.manual_seed(0)
    return create_model(name, **{"num_classes": 7, **args, **kwargs}).eval()


def image(*shape):
    return torch.randn(*(shape or (2, 3, 61, 96)), generator=torch.Generator().manual_seed(1))
