import torch

from msgformer.heads.detection.matcher import Matcher

IOU = torch.tensor(
    [
        [0.8, 0.5, 0.1, 0.35, 0.0],
        [0.2, 0.5, 0.0, 0.40, 0.2],
        [0.0, 0.0, 0.2, 0.40, 0.2],
    ]
)


def test_overlaps_are_compared_with_both_thresholds():
    assert Matcher(0.7, 0.3)(IOU).tolist() == [0, -2, -1, -2, -1]


def test_low_quality_matches_have_a_minimum_and_prefer_the_last_ground_truth():
    # Anchor 1 is the best of ground truth 1, anchor 3 the best of 2; of 0.2 none is raised above the floor.
    assert Matcher(0.7, 0.3, low_quality_iou=0.3)(IOU).tolist() == [0, 1, -1, 2, -1]
    assert Matcher(0.7, 0.3, low_quality_iou=0.45)(IOU).tolist() == [0, 1, -1, -2, -1]


def test_the_minimum_of_low_quality_matches_is_inclusive():
    assert Matcher(0.7, 0.3, low_quality_iou=0.5)(IOU).tolist() == [0, 1, -1, -2, -1]


def test_all_tied_candidates_are_positive():
    tied = torch.tensor([[0.4, 0.4, 0.1]])
    assert Matcher(0.7, 0.3, low_quality_iou=0.3)(tied).tolist() == [0, 0, -1]
