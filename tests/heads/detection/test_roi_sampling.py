import torch

from msgformer.heads.detection.matcher import Matcher
from msgformer.heads.detection.roi_sampling import RoISampler

TRUTH = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
NEAR = torch.tensor([[20.0, 20, 40, 39], [1, 0, 10, 10]])
FAR = torch.tensor([[50.0, 50, 60, 60]]).repeat(20, 1)
CLASSES = torch.tensor([3, 5])


def sample(proposals, truth=TRUTH, classes=CLASSES, **changes):
    return RoISampler(Matcher(0.5, 0.5), 7, **changes)(proposals, truth, classes)


def test_positives_are_matched_and_the_rest_is_background():
    torch.manual_seed(0)
    found = sample(torch.cat([NEAR, FAR]), num_samples=16, positive_fraction=0.5)
    assert found.boxes.shape == (16, 4)
    assert found.matched.tolist() == [0, 1, 1, 0]
    assert found.labels.tolist() == [3, 5, 5, 3, *[7] * 12]
    assert torch.equal(found.boxes[:4], torch.cat([TRUTH, NEAR]))
    assert (found.boxes[4:] == FAR[0]).all()
    assert found.is_truth.tolist() == [True, True, *[False] * 14]


def test_fraction_of_positives_is_limited():
    torch.manual_seed(0)
    found = sample(torch.cat([NEAR.repeat(10, 1), FAR]), num_samples=8, positive_fraction=0.25)
    assert len(found.matched) == 2
    assert (found.labels[2:] == 7).all()


def test_image_without_objects_gives_background_only():
    found = sample(FAR, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), num_samples=8)
    assert found.labels.tolist() == [7] * 8
    assert not found.is_truth.any()
