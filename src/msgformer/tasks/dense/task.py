"""Common base of detection and segmentation. Imports no heavy library."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from msgformer.data.files.locations import FOLDER, parse_location, resolve_data
from msgformer.errors import UserError
from msgformer.tasks.base import Task

if TYPE_CHECKING:
    from torch import nn

    from msgformer.checkpoints.card import ModelCard
    from msgformer.data.bundled.scene_folders import Counts
    from msgformer.utils.result import Result


class DenseTask(Task):
    """A task on a folder of annotated images.

    Attributes:
        scenes: Number of bundled scenes per subset, for trainings without a data folder.
        layout: Name of the layout of scenes on disk.
    """

    scenes: ClassVar[Counts]
    layout: ClassVar[str]

    @override
    def resolve_data(self, data: str) -> str:
        """Return a folder's absolute path."""
        if parse_location(data).scheme != FOLDER:
            raise UserError(f"data: --task {self.name} reads folders, not {data}; give a folder")
        resolved = resolve_data(data, layout=False)
        self.check_layout(resolved)
        return resolved

    @abstractmethod
    def check_layout(self, data: str) -> None:
        """Raise UserError if data has no layout of this task."""

    @abstractmethod
    def create(self, name: str, num_classes: int, **arguments: Any) -> nn.Module:
        """Create a model.

        Args:
            name: Name of the backbone.
            num_classes: Number of classes.
            **arguments: Further arguments of the model and of the backbone's constructor.
        """

    @override
    def build_model(self, card: ModelCard, **start: Any) -> nn.Module:
        """Build a model on the backbone that the card names.

        Args:
            card: The card.
            **start: Initial weights (``pretrained``, ``checkpoint``), which a card doesn't hold.
        """
        from msgformer.tasks.dense.build import build_dense

        return build_dense(self.create, card.model, len(card.classes), card.model_args, **start)

    @override
    def bundled_scenes(self) -> Path:
        """Return the folder of the bundled scenes."""
        from msgformer.data.bundled.scene_folders import cached_scenes

        return cached_scenes(self.name, self._write, self.scenes, seed=0)

    @override
    def write_scenes(self, folder: Path, counts: Mapping[Any, int], seed: int) -> str:
        """Write scenes in this task's layout.

        Args:
            folder: A new folder.
            counts: Images per subset.
            seed: Seed of the random generator.

        Returns:
            Name of the layout.
        """
        self._write(folder, dict(counts), seed)
        return self.layout

    @abstractmethod
    def _write(self, folder: Path, counts: Counts, seed: int) -> None:
        """Write scenes to a folder."""

    @override
    def train_result(self, outcome: Mapping[str, Any]) -> Result:
        """Return the scores by name."""
        from msgformer.tasks.dense.train_result import DenseTrainResult

        return DenseTrainResult(task=self.name, **outcome)
