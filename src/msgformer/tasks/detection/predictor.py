"""Runs a trained detector on batches of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from msgformer.config.dense_training_options import DetectOptions
from msgformer.data.detection.transforms import to_tensor
from msgformer.errors import UserError
from msgformer.heads.detection.detections import encode_found_masks, raised_limit, unpasted_masks
from msgformer.tasks.detection.record import SCORE_TOLERANCE, DetectionLayout, DetectionPrediction
from msgformer.tasks.detection.result import DetectionResult
from msgformer.tasks.detection.results_file import RESULTS_THRESHOLD, ResultsFile, category_ids
from msgformer.tasks.detection.tiles import TILE_OVERLAP, Detections, detect_on_tiles
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.prediction.predictor import InferenceConfig, Predictor, PreprocessedImage

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from msgformer.data.detection.image_list import ImageList

THRESHOLD = 0.5
"""Default of the lowest score of reported objects."""


class DetectionPredictor(Predictor):
    """Runs a trained detector on batches.

    Args:
        model: The detector.
        config: Device, precision and batches.
        threshold: Lowest score of reported objects; `THRESHOLD` by default.
        max_dets: Maximum number of objects per image; by default that of the detector, which it raises if necessary.
        tile: Side of the tiles on which larger images are predicted, see `detect_on_tiles`; by default as in training.
        tile_overlap: Minimum overlap of neighboring tiles, as a fraction of a tile; `TILE_OVERLAP` by default.

    Raises:
        UserError: ``max_dets`` is given for an exported file, or ``tile_overlap`` without tiles.
    """

    default_batch_size = 1
    thumbnail_suffices = False
    layout = DetectionLayout()

    def __init__(
        self,
        model: OpenedModel,
        config: InferenceConfig,
        *,
        threshold: float | None = None,
        max_dets: int | None = None,
        tile: int | None = None,
        tile_overlap: float | None = None,
    ) -> None:
        super().__init__(model, config)
        if max_dets is not None and model.session is not None:
            raise UserError(
                f"max_dets: the number of objects is fixed in the exported file {model.name}; give its run, or export"
                " a run with another --detect.detections_per_image"
            )
        self._has_default_threshold = threshold is None
        self.threshold = THRESHOLD if threshold is None else threshold
        self.max_dets = max_dets
        self.tile = model.card.data.get("tile") if tile is None else tile
        if tile_overlap is not None and self.tile is None:
            raise UserError("tile_overlap has an effect only with tile; give that, too, or leave tile_overlap out")
        self.tile_overlap = TILE_OVERLAP if tile_overlap is None else tile_overlap

    def detect(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Return the detector's output for images [3, H, W], 0..1, with masks as of `unpasted_masks`."""
        run: Callable[[Sequence[Tensor]], list[dict[str, Tensor]]] = self._model.runner(self.config)
        with unpasted_masks(), raised_limit(self.max_dets or 0):
            if self.tile is not None and any(max(image.shape[-2:]) > self.tile for image in images):
                return [self._detect_on_tiles(lambda part: run([part])[0], image, self.tile) for image in images]
            if len({image.shape for image in images}) == 1:
                return run(list(images))
            # In one batch, smaller images would be padded to the largest one, which changes the content of windows.
            return [run([image])[0] for image in images]

    def _detect_on_tiles(self, detect: Callable[[Tensor], Detections], image: Tensor, tile: int) -> Detections:
        threshold = self._model.card.model_args.get("nms_threshold", DetectOptions.nms_threshold)
        limit = max(detection_limit(self._model), self.max_dets or 0)
        return detect_on_tiles(detect, image, tile, self.tile_overlap, threshold, limit)

    @property
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """Converts an RGB image to a tensor [3, H, W], 0..1, which the detector itself resizes and normalizes."""
        return to_tensor

    def run(self, inputs: Tensor | list[Tensor], images: Sequence[PreprocessedImage]) -> list[DetectionResult]:  # type: ignore[override]
        """Detect objects in a batch of images.

        Args:
            inputs: Images [3, H, W] each, 0..1.
            images: The B images of these inputs.

        Returns:
            One result per image.
        """
        return [self._result(image, found) for image, found in zip(images, self.detect(list(inputs)), strict=True)]

    def results_file(self, path: Path, images: ImageList | None) -> ResultsFile:
        """Return a file of detections in COCO's results format; by default, it has those of any score.

        Args:
            path: The file.
            images: The list of images that is predicted, if any.

        Raises:
            UserError: The category ids of the classes are unknown.
        """
        if self._has_default_threshold:
            self.threshold = RESULTS_THRESHOLD
        return ResultsFile(path, category_ids(self._model, images), images)

    def agrees(self, stored: DetectionPrediction, fresh: DetectionPrediction) -> bool:  # type: ignore[override]
        """Return whether both have the same objects; one may have more objects with scores near the threshold.

        Args:
            stored: The record of an earlier call.
            fresh: The prediction of the same image now.
        """
        count = min(len(stored.objects), len(fresh.objects))
        further = [*stored.objects[count:], *fresh.objects[count:]]
        common = [replace(record, objects=record.objects[:count]) for record in (stored, fresh)]
        near_threshold = all(abs(one.score - self.threshold) <= SCORE_TOLERANCE for one in further)
        return near_threshold and common[0].is_close(common[1])

    def failed(self, image: PreprocessedImage) -> DetectionResult:
        """Return a result without objects."""
        return self._result(image, None)

    def _result(self, image: PreprocessedImage, found: dict[str, Tensor] | None) -> DetectionResult:
        boxes, scores, labels, rles = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), None
        if found is not None:
            is_certain = found["scores"] >= self.threshold
            certain = {name: value[is_certain][: self.max_dets] for name, value in found.items()}
            boxes, scores, labels = (certain[name].cpu().numpy() for name in ("boxes", "scores", "labels"))
            labels = labels - 1
            if "masks" in certain:
                rles = encode_found_masks(certain, image.size)
        return DetectionResult(
            image.source.name,
            self.class_names,
            boxes,
            scores,
            labels,
            image.size,
            rles,
            error=image.error,
            source=image.source,
            pixels=image.pixels,
        )


def detection_limit(model: OpenedModel) -> int:
    """Return a detector's maximum number of detections per image; for an exported file, the usual one."""
    if model.session is not None:
        return DetectOptions.detections_per_image
    limit: int = model.module.detections_per_image  # type: ignore[assignment]
    return limit
