import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from heads.conftest import SIZES, unpack
from msgformer.heads.detection.rpn import RegionProposalNetwork

NAMES = {"rpn_conv": "conv.0.0", "rpn_cls": "cls_logits", "rpn_reg": "bbox_pred"}


@pytest.fixture
def rpn(golden):
    network = RegionProposalNetwork(32, num_train=1000, num_samples=1_000_000)
    state = {k.rsplit(".", 1)[0]: k for k in golden["rpn"]["state"]}
    network.head.load_state_dict(
        {f"{NAMES[k]}.{p}": golden["rpn"]["state"][f"{k}.{p}"] for k in state for p in ("weight", "bias")}
    )
    return network


@pytest.fixture
def features(golden):
    return {str(i): feature.clone().requires_grad_() for i, feature in enumerate(golden["feats"])}


def test_anchors_are_assigned_as_in_the_golden_file(compact, images, targets):
    network = RegionProposalNetwork(1)
    maps = [torch.zeros(2, 1, 256 // stride, 320 // stride) for stride in (4, 8, 16, 32, 64)]
    anchors = network.anchor_generator(images, maps)
    sized = [{**target, "size": torch.tensor(size)} for target, size in zip(targets, SIZES, strict=True)]
    labels, boxes = network.assign_targets_to_anchors(anchors, sized)
    labels = torch.stack(labels)
    assert torch.equal(labels >= 0, unpack(compact["rpn.used"], labels.shape[1]).bool())
    assert torch.equal((labels == 1).nonzero(), compact["rpn.positive"])
    offsets = torch.stack(network.box_coder.encode(boxes, anchors))
    torch.testing.assert_close(offsets[labels == 1], compact["rpn.targets"], atol=1e-6, rtol=1e-6)


def test_head(rpn, features, golden):
    logits, deltas = rpn.head(list(features.values()))
    for ours, theirs in zip(logits + deltas, golden["rpn"]["cls"] + golden["rpn"]["reg"], strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize(("section", "before", "after"), [("test_nms1000", 1000, 1000), ("test_pre200_max50", 200, 50)])
def test_proposals_equal_the_golden_file(rpn, features, images, golden, section, before, after):
    rpn.eval()
    rpn._pre_nms_top_n, rpn._post_nms_top_n = {"testing": before}, {"testing": after}
    with torch.no_grad():
        proposals, losses = rpn(images, features)
    assert not losses
    for ours, theirs in zip(proposals, golden["rpn"][section], strict=True):
        torch.testing.assert_close(ours, theirs["bboxes"], atol=1e-4, rtol=1e-6)


def test_losses_and_gradients_equal_the_golden_file(rpn, features, images, targets, golden):
    _, losses = rpn(images, features, targets)
    train = golden["rpn"]["train"]
    torch.testing.assert_close(losses["loss_objectness"], sum(train["loss_rpn_cls"]), atol=1e-6, rtol=0)
    torch.testing.assert_close(losses["loss_rpn_box_reg"], sum(train["loss_rpn_bbox"]), atol=1e-6, rtol=0)
    sum(losses.values()).backward()
    for feature, gradient in zip(features.values(), train["grad_feats"], strict=True):
        torch.testing.assert_close(feature.grad, gradient, atol=1e-9, rtol=1e-4)


def test_images_without_objects_or_smaller_than_any_anchor():
    network = RegionProposalNetwork(4)
    features = {str(i): torch.rand(2, 4, 2 ** (3 - min(i, 3)), 2 ** (3 - min(i, 3))) for i in range(5)}
    images = ImageList(torch.zeros(2, 3, 32, 32), [(32, 32), (16, 16)])
    empty = {"boxes": torch.zeros(0, 4)}
    _, losses = network(images, features, [empty, {"boxes": torch.tensor([[2.0, 2.0, 9.0, 9.0]])}])
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize(("side", "is_assigned"), [(32, True), (12, False)])
def test_objects_that_overlap_every_anchor_by_less_than_0_3_are_not_assigned(side, is_assigned):
    """The smallest anchor has an area of 32 x 32, and 12^2 / 32^2 is 0.14."""
    network = RegionProposalNetwork(1)
    images = ImageList(torch.zeros(1, 3, 128, 128), [(128, 128)])
    anchors = network.anchor_generator(images, [torch.zeros(1, 1, 128 // s, 128 // s) for s in (4, 8, 16, 32, 64)])
    box = torch.tensor([[64.0 - side / 2, 64.0 - side / 2, 64.0 + side / 2, 64.0 + side / 2]])
    (labels,), _ = network.assign_targets_to_anchors(anchors, [{"boxes": box, "size": torch.tensor([128, 128])}])
    assert bool((labels == 1).any()) is is_assigned
