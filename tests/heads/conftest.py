"""Golden outputs of Cascade Mask R-CNN: a compact part that is always present, and the full file if found."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.models.detection.image_list import ImageList

from msgformer.heads.detection.box_head import BoxHead
from msgformer.heads.detection.cascade import CASCADE, CascadeRoIHeads
from msgformer.heads.detection.mask_head import MaskHead

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


TINY = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "drop_path_rate": 0.0}
"""Options that make a small model of MSG-Transformer or Swin."""

TINY_DETECTOR = {
    "channels": 32,
    "fc_channels": 64,
    "train_proposals": 100,
    "test_proposals": 100,
    "rois_per_image": 64,
    "min_size": None,
    **TINY,
}


def scene():
    """Two images of different sizes with bright boxes, a channel a class."""
    torch.manual_seed(0)
    images = [torch.rand(3, 128, 128) * 0.2, torch.rand(3, 120, 100) * 0.2]
    boxes = [[(10, 12, 58, 70), (70, 60, 120, 110)], [(20, 30, 80, 90)]]
    labels = [[1, 3], [2]]
    targets = []
    for image, places, classes in zip(images, boxes, labels, strict=True):
        masks = torch.zeros(len(places), *image.shape[1:], dtype=torch.uint8)
        for mask, (x1, y1, x2, y2), label in zip(masks, places, classes, strict=True):
            mask[y1:y2, x1:x2] = 1
            image[label - 1] += 0.7 * mask
        target = {"boxes": torch.tensor(places).float(), "labels": torch.tensor(classes), "masks": masks}
        targets.append(target)
    return images, targets
