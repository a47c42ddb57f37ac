import pytest
import torch

from msgformer.errors import UserError
from msgformer.heads.detection.targets import check_targets

IMAGES = [torch.zeros(3, 20, 30)]


def target(**changes):
    boxes = torch.tensor([[1.0, 2, 8, 9], [0, 0, 30, 20]])
    return {"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": torch.zeros(2, 20, 30), **changes}


def test_valid_targets_pass():
    check_targets(IMAGES, [target()], 3, with_masks=True)
    check_targets(IMAGES, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}], 3, with_masks=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": torch.zeros(2, 5)}, r"'boxes' has shape \(2, 5\) instead of \(2, 4\)"),
        ({"labels": torch.ones(3)}, r"'labels' has shape \(3,\) instead of \(2,\)"),
        ({"masks": torch.zeros(2, 30, 20)}, r"'masks' has shape \(2, 30, 20\) instead of \(2, 20, 30\)"),
        ({"labels": torch.tensor([0, 1])}, "label 0 is not one of 1 to 3"),
        ({"labels": torch.tensor([1, 4])}, "label 4 is not one of 1 to 3"),
        ({"boxes": torch.tensor([[1.0, 2, 8, 9], [5, 5, 5, 9]])}, r"box \[5\.0, 5\.0, 5\.0, 9\.0\] .* has no area"),
        (
            {"boxes": torch.tensor([[1.0, 2, 8, torch.inf], [0, 0, 3, 3]])},
            r"box .*inf\] .* has no area",
        ),
    ],
)
def test_invalid_targets_are_refused(changes, message):
    with pytest.raises(UserError, match=f"^target 0 of the batch: {message}"):
        check_targets(IMAGES, [target(**changes)], 3, with_masks=True)


def test_missing_targets_and_values_are_refused():
    with pytest.raises(UserError, match="needs a target for each of the 1 images, but got none"):
        check_targets(IMAGES, None, 3, with_masks=False)
    with pytest.raises(UserError, match="but got 2"):
        check_targets(IMAGES, [target(), target()], 3, with_masks=False)
    without = {name: value for name, value in target().items() if name != "masks"}
    check_targets(IMAGES, [without], 3, with_masks=False)
    with pytest.raises(UserError, match="'masks' is missing; required are boxes, labels, masks"):
        check_targets(IMAGES, [without], 3, with_masks=True)
