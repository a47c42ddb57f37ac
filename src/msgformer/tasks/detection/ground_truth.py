"""Ground truth for COCO's metrics."""

from __future__ import annotations

from msgformer.data.detection.instances import InstanceSet
from msgformer.tasks.detection.coco_scores import CocoGroundTruth


def coco_ground_truth(data: InstanceSet) -> CocoGroundTruth:
    """Return the ground truth of a data set."""
    return CocoGroundTruth(data.to_coco(), [image.id for image in data.images], data.category_ids)
