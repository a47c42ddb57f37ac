"""Non-maximum suppression with a fixed number of boxes."""

import torch
from torchvision.ops import batched_nms

from msgformer.exporters.graph.nms import fixed_size_nms


def test_nms_equals_torchvisions_per_group_and_class():
    torch.manual_seed(0)
    corner = torch.rand(2, 60, 2) * 40
    boxes = torch.cat([corner, corner + 5 + torch.rand(2, 60, 2) * 20], dim=-1)
    scores = torch.rand(2, 3, 60)
    left = fixed_size_nms(boxes, scores, 60, 0.4, 0.3)
    for group in range(2):
        for label in range(3):
            values = scores[group, label]
            there = (values > 0.3).nonzero()[:, 0]
            keep = there[batched_nms(boxes[group][there], values[there], torch.zeros_like(there), 0.4)]
            assert left[group, label].nonzero()[:, 0].tolist() == sorted(keep.tolist())
            few = fixed_size_nms(boxes, scores, 4, 0.4, 0.3)[group, label]
            assert few.nonzero()[:, 0].tolist() == sorted(keep[:4].tolist())
