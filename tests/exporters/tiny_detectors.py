"""Tiny detectors, the card of their export, and a session without a file."""

from pathlib import Path

import torch

from msgformer.checkpoints.export_card import ExportCard
from msgformer.exporters.graph.detector import output_names
from msgformer.exporters.program import export_sizes
from msgformer.exporters.session import Session
from msgformer.heads import create_detector
from msgformer.tasks.detection.export_source import as_graph

MSG = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4}
SG = {"embed_dims": (16, 16, 32, 32), "depths": (2, 1, 1, 1), "num_heads": (2, 2, 2, 2), "reductions": (2, 2, 2, 1)}
BACKBONES = {"msg_transformer_tiny": MSG, "sgformer_small": SG}
SETTINGS = {
    "channels": 16,
    "fc_channels": 32,
    "anchor_size": 16,
    "test_proposals": 40,
    "min_size": 128,
    "max_size": 192,
    "detections_per_image": 20,
}


def small(head, backbone="msg_transformer_tiny"):
    """A detector whose random weights find objects of all classes, in shifted boxes."""
    torch.manual_seed(0)
    model = create_detector(backbone, head, 3, **SETTINGS, **BACKBONES[backbone]).eval()
    for name, module in model.named_modules():
        if name.endswith(("fc_cls", "cls_logits")):
            torch.nn.init.normal_(module.weight, std=30 if head == "retinanet" else 1)
            torch.nn.init.zeros_(module.bias)
        elif name.endswith(("fc_reg", "bbox_pred", "bbox_reg")):
            torch.nn.init.normal_(module.weight, std=0.02)
    return model


def card_of(model, format, size=(128, 160), *, dynamic=False):
    sizes = export_sizes(model, size, 1, dynamic_batch=False, dynamic_size=dynamic)
    transform = model.transform
    return ExportCard(
        format,
        "detect",
        "small",
        ["a", "b", "c"],
        {"min_size": transform.min_size[0], "max_size": transform.max_size},
        sizes,
        outputs=output_names(model),
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
    )


class EagerSession(Session):
    """Return the outputs of an exported file, computed by the model variant that is captured."""

    def __init__(self, model, *, dynamic=False):
        super().__init__(Path("model.onnx"), card_of(model, "onnx", dynamic=dynamic))
        self.graph = as_graph(model)

    @torch.no_grad()
    def run(self, images):
        return list(self.graph(images))
