"""Ground truth of COCO's scores."""

from __future__ import annotations

from msgformer.data.detection.instances import InstanceSet
from msgformer.tasks.detection.coco_scores import CocoTruth


def coco_ground_truth(data: InstanceSet) -> CocoTruth:
    """Return the ground truth of a data set."""
    return CocoTruth(data.to_coco(), [image.id for image in data.images], data.category_ids)
