import pytest
import torch
from torch import nn

from heads.conftest import TINY
from msgformer.errors import UserError
from msgformer.heads import create_segmenter
from msgformer.heads.segmentation.losses import cross_entropy
from msgformer.heads.segmentation.segmenter import HEADS

NAME = "msg_transformer_tiny"


def scene():
    torch.manual_seed(0)
    images, targets = torch.randn(2, 3, 70, 90) * 0.1, torch.zeros(2, 70, 90, dtype=torch.int64)
    targets[0, 10:50, 20:60], targets[1, 20:60, 30:80] = 1, 2
    for label in (1, 2):
        images[:, label] += targets.eq(label)
    targets[:, :, -4:] = 255
    return images, targets


@pytest.mark.parametrize("head", HEADS)
def test_losses_and_logits(head):
    images, targets = scene()
    segmenter = create_segmenter(NAME, head, 3, **TINY)
    losses = segmenter(images, targets)
    assert set(losses) == ({"loss_seg", "loss_aux"} if head == "upernet" else {"loss_seg"})
    sum(losses.values()).backward()
    assert [name for name, p in segmenter.named_parameters() if p.grad is None] == []
    segmenter.eval()
    assert segmenter(images[:1]).shape == (1, 3, 70, 90)


@pytest.mark.parametrize("head", HEADS)
def test_one_batch_can_be_overfitted(head):
    images, targets = scene()
    segmenter = create_segmenter(NAME, head, 3, channels=32, **TINY)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=3e-3)
    for _ in range(25):
        loss = sum(segmenter(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for module in segmenter.modules():
        module.train(isinstance(module, nn.BatchNorm2d))  # 25 steps are too few for running statistics
    right = segmenter(images).argmax(dim=1) == targets
    assert right[targets != 255].float().mean() > 0.95


def test_ignored_pixels_do_not_contribute():
    logits, targets = torch.randn(1, 4, 6, 6), torch.randint(4, (1, 6, 6))
    whole = nn.functional.cross_entropy(logits[..., :3], targets[..., :3])
    targets[..., 3:] = 255
    torch.testing.assert_close(cross_entropy(logits, targets, 255), whole / 2)
    assert cross_entropy(logits, torch.full_like(targets, 255), 255) == 0


def test_semantic_fpn_trains_with_one_image():
    images, targets = scene()
    segmenter = create_segmenter(NAME, "semantic_fpn", 3, channels=16, **TINY)
    assert segmenter(images[:1], targets[:1])["loss_seg"] > 0
    with pytest.raises(UserError, match=r"a batch of 1 image of 32 x 32 pixels .* or larger images"):
        segmenter(images[:1, :, :32, :32], targets[:1, :32, :32])


@pytest.mark.parametrize("num_classes", [3, 300])
def test_losses_weights_and_ignored_pixels_of_any_number_of_classes(num_classes):
    images, targets = scene()
    weights = [0.0] * num_classes
    weights[1] = 2.0
    targets[targets == 255] = ignored = 255 if num_classes == 3 else 65535
    segmenter = create_segmenter(
        NAME, "semantic_fpn", num_classes, channels=16, loss="dice", class_weights=weights, **TINY
    )
    assert "class_weights" not in segmenter.state_dict()
    assert segmenter(images, targets)["loss_seg"] > 0
    targets[targets == 1] = ignored
    assert segmenter(images, targets)["loss_seg"] == 0


def test_unknown_losses_and_other_numbers_of_weights_are_refused():
    with pytest.raises(UserError, match="unknown loss 'dise'; did you mean 'dice'"):
        create_segmenter(NAME, loss="dise", **TINY)
    with pytest.raises(UserError, match="class_weights has 2 numbers, not one for each of 3 classes"):
        create_segmenter(NAME, num_classes=3, class_weights=[1.0, 2.0], **TINY)


def test_upernet_parameters_are_named_as_in_mmsegmentation():
    segmenter = create_segmenter("resnet18", num_classes=150)
    shapes = {name: tuple(p.shape) for name, p in segmenter.named_parameters() if not name.startswith("backbone")}
    assert shapes["decode_head.conv_seg.weight"] == (150, 512, 1, 1)
    assert shapes["decode_head.psp_modules.3.1.conv.weight"] == (512, 512, 1, 1)
    assert shapes["decode_head.bottleneck.conv.weight"] == (512, 512 + 4 * 512, 3, 3)
    assert shapes["decode_head.lateral_convs.2.conv.weight"] == (512, 256, 1, 1)
    assert shapes["decode_head.fpn_convs.2.bn.weight"] == (512,)
    assert shapes["decode_head.fpn_bottleneck.conv.weight"] == (512, 2048, 3, 3)
    assert shapes["auxiliary_head.convs.0.conv.weight"] == (256, 256, 3, 3)
    assert shapes["auxiliary_head.conv_seg.bias"] == (150,)


def test_invalid_training_batches_are_an_error():
    images, targets = scene()
    segmenter = create_segmenter(NAME, num_classes=3, **TINY)
    with pytest.raises(UserError, match="a batch of 1 image"):
        segmenter(images[:1], targets[:1])
    with pytest.raises(UserError, match=r"targets have shape \(2, 35, 45\)"):
        segmenter(images, targets[:, ::2, ::2])
    with pytest.raises(UserError, match="unknown head 'upernett'"):
        create_segmenter(NAME, "upernett", **TINY)
    nn.SyncBatchNorm.convert_sync_batchnorm(segmenter)
    segmenter.eval()
    assert segmenter(images[:1], targets[:1])["loss_seg"] > 0
