"""Tiny models of every family, and the card of an export of fixed size."""

import torch

from msgformer.checkpoints.export_card import ExportCard
from msgformer.exporters.program import export_sizes
from msgformer.models import create_model

MSG = {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2), "window_size": 2, "shuffle_sizes": (2, 2)}
FAMILIES = {
    "msg_transformer_tiny": MSG,
    "msg_transformer_v1_tiny": MSG,
    "sgformer_small": {"embed_dims": (16, 32), "depths": (2, 1), "num_heads": (2, 2), "reductions": (2, 1)},
}
CLASSES = ["a", "b", 'c "quoted" <é>']


def small(seed):
    torch.manual_seed(seed)
    return create_model("msg_transformer_tiny", num_classes=3, **MSG).eval()


def static_card(model, format="torch-export", batch=2):
    sizes = export_sizes(model, (16, 24), batch, dynamic_batch=False, dynamic_size=False)
    return ExportCard(format, "classify", "msg_transformer_tiny", CLASSES, {}, sizes)
