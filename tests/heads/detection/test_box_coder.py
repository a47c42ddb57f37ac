import math

import pytest
import torch
from torchvision.ops import clip_boxes_to_image

from msgformer.heads.detection.box_coder import BoxCoder


@pytest.mark.parametrize("index", range(4))
def test_coder_reproduces_golden_boxes(compact, index):
    case = {k: compact[f"coder.{index}.{k}"] for k in ("stds", "a", "b", "enc", "deltas", "dec")}
    coder = BoxCoder(tuple(case["stds"].tolist()))
    torch.testing.assert_close(coder.encode_single(case["b"], case["a"]), case["enc"], atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(coder.decode_single(case["deltas"], case["a"]), case["dec"], atol=0, rtol=1e-6)


def test_clipped_boxes_equal_the_golden_file(golden):
    for case in golden["coder"]:
        decoded = BoxCoder(tuple(case["stds"])).decode_single(case["deltas"], case["a"])
        torch.testing.assert_close(clip_boxes_to_image(decoded, (256, 320)), case["dec_clip"], atol=0, rtol=1e-6)


def test_size_changes_are_bounded_on_both_sides():
    box = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]])
    decoded = BoxCoder().decode_single(torch.tensor([[0.0, 0.0, -50.0, 50.0]]), box)
    ratio = 62.5
    expected = torch.tensor([[500 - 500 / ratio, 500 - 500 * ratio, 500 + 500 / ratio, 500 + 500 * ratio]])
    torch.testing.assert_close(decoded, expected)
    assert math.isfinite(decoded.sum())


def test_half_precision_offsets_give_boxes_in_full_precision():
    boxes = torch.tensor([[1000.0, 1000.0, 1033.0, 1033.0]])
    decoded = BoxCoder().decode_single(torch.zeros(1, 8, dtype=torch.bfloat16), boxes)
    assert torch.equal(decoded, boxes.repeat(1, 2))
