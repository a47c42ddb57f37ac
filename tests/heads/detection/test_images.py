import pytest
import torch

from msgformer.heads.detection.images import DetectionTransform


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 150), (80, 120)), ((150, 100), (120, 80)), ((100, 300), (53, 160)), ((33, 40), (80, 97))],
)
def test_evaluation_resizes_to_the_shorter_side_within_the_maximum(size, expected):
    image, _ = DetectionTransform(80, 160).eval().resize(torch.rand(3, *size))
    assert tuple(image.shape[1:]) == expected


def test_training_images_are_not_resized():
    image = torch.rand(3, 100, 150)
    assert DetectionTransform(80, 160).train().resize(image)[0] is image
    assert DetectionTransform(None).eval().resize(image)[0] is image


def test_images_are_normalized_and_padded_to_a_batch():
    transform = DetectionTransform(None, mean=(0.5,) * 3, std=(0.25,) * 3).eval()
    batch, _ = transform([torch.ones(3, 40, 50), torch.ones(3, 70, 30)])
    assert batch.tensors.shape == (2, 3, 96, 64)
    assert batch.image_sizes == [(40, 50), (70, 30)]
    assert (batch.tensors[0, :, :40, :50] == 2).all()
    assert (batch.tensors[0, :, 40:] == 0).all()


def test_boxes_and_masks_are_scaled_to_the_original_image():
    transform = DetectionTransform(80, 160).eval()
    found = [{"boxes": torch.tensor([[8.0, 8, 40, 72]]), "masks": torch.ones(1, 28, 28)}]
    (detection,) = transform.postprocess(found, [(80, 120)], [(100, 150)])
    torch.testing.assert_close(detection["boxes"], torch.tensor([[10.0, 10, 50, 90]]))
    assert detection["masks"].shape == (1, 100, 150)
    assert detection["masks"].dtype == torch.bool
    rows, cols = detection["masks"][0].nonzero().T
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (10, 89, 10, 49)


def test_each_side_has_its_own_scale():
    """Sides are rounded one by one, so that their scales differ a little."""
    found = [{"boxes": torch.tensor([[0.0, 0, 160, 53]])}]
    (detection,) = DetectionTransform(80, 160).eval().postprocess(found, [(53, 160)], [(100, 300)])
    torch.testing.assert_close(detection["boxes"], torch.tensor([[0.0, 0, 300, 100]]))
