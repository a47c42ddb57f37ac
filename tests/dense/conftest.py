"""Golden outputs of Cascade Mask R-CNN: a compact part that is always here, and the whole where it is found."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.models.detection.image_list import ImageList

from msgformer.dense.box_head import BoxHead
from msgformer.dense.cascade import CASCADE, CascadeRoIHeads
from msgformer.dense.mask_head import MaskHead

SIZES = [(256, 320), (240, 300)]
NUM_CLASSES = 6


@pytest.fixture(scope="session")
def compact():
    return load_file(Path(__file__).parent / "data" / "cascade_compact.safetensors")


@pytest.fixture(scope="session")
def golden():
    default = Path(__file__).parents[2].parent / "shared" / "golden"
    path = Path(os.environ.get("MSGFORMER_GOLDEN", default)) / "cascade_mask_rcnn.pt"
    if not path.is_file():
        pytest.skip(f"no golden outputs at {path}; set MSGFORMER_GOLDEN to the folder that holds them")
    return torch.load(path, weights_only=True)


@pytest.fixture
def images():
    return ImageList(torch.zeros(2, 3, 256, 320), SIZES)


@pytest.fixture
def targets(compact):
    truth = [{"boxes": compact[f"gt.{i}.boxes"], "labels": compact[f"gt.{i}.labels"] + 1} for i in range(2)]
    truth[1]["masks"] = unpack(compact["gt.1.masks"], SIZES[1][1])[:, : SIZES[1][0]]
    return truth


def unpack(bits, width):
    """Masks of which 8 pixels are packed into a byte."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=-1))[..., :width]


def small_heads():
    """Box and mask heads of the golden file's widths."""
    boxes = [BoxHead(32, NUM_CLASSES, conv_channels=32, fc_channels=64) for _ in CASCADE]
    masks = [MaskHead(32, NUM_CLASSES, channels=32) for _ in CASCADE]
    return CascadeRoIHeads(boxes, masks, CASCADE, NUM_CLASSES)
