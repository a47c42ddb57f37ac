"""Samples of detectors and segmenters."""

from data.dense_folders import write_coco
from msgformer.config.dense_data_options import DetectImageOptions
from msgformer.data.dense.samples import DetectionSamples, collate
from msgformer.data.detection.sets import open_detection
from msgformer.data.detection.transforms import detect_train_transform

SMALL = DetectImageOptions(train_sides=(192, 256, 320), max_side=400, crop_resize=(256,), crop_sides=(128, 200))


def test_images_without_objects_pass_through(tmp_path):
    train, _ = open_detection(write_coco(tmp_path))
    samples = DetectionSamples(train, detect_train_transform(SMALL), with_masks=True)
    batch = collate([samples[0, 2], samples[0, 0]])
    assert len(batch.targets[0]["labels"]) == 0
    assert batch.targets[0]["masks"].shape == (0, *batch.images[0].shape[1:])
    assert batch.positions.tolist() == [2, 0]
