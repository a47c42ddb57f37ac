"""Small models of both families, in both libraries, with the same weights."""

import torch

from models.fill import fill
from msgformer.mindspore import create_model, load_weights
from msgformer.mindspore.weights import set_precision
from msgformer.models import create_model as create_torch_model

MSG = dict(embed_dim=16, depths=(2, 2), num_heads=(1, 2), shuffle_sizes=(4, 4), window_size=4)
SG = dict(embed_dims=(8, 16), depths=(2, 2), num_heads=(2, 2), reductions=(8, 4), window_size=5, img_size=64)
SMALL = {
    "overlapping": ("msg_transformer_tiny", MSG),
    "neighbors": ("msg_transformer_v1_tiny", MSG),
    "without exchange": ("msg_transformer_tiny", {**MSG, "exchange": "none"}),
    "sg_former": ("sgformer_small", SG),
    "sg_former, r = 2 and 1": ("sgformer_small", {**SG, "reductions": (2, 1)}),
}


def pair(kind, dtype, num_classes=5, **settings):
    """The PyTorch model in float64, in evaluation mode, and the MindSpore model with the same weights."""
    name, args = SMALL[kind]
    settings = {**args, "num_classes": num_classes, "drop_path_rate": 0.0, **settings}
    theirs = create_torch_model(name, **settings).double().eval()
    with torch.no_grad():
        for key, value in theirs.named_parameters():
            value.add_(fill(key, tuple(value.shape)) * 0.1)
    ours = set_precision(create_model(name, **settings), dtype)
    load_weights(ours, {key: value.numpy() for key, value in theirs.state_dict().items()})
    return theirs, ours
