"""All settings that decide what a training does, checked, and as the YAML that repeats it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from msgformer.checkpoints.model_location import WEIGHTS_SUFFIXES, find_checkpoint
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.data_options import AugmentOptions, Balance, OnBadImage, PreprocessOptions
from msgformer.config.dense_data_options import DetectImageOptions, SegmentImageOptions
from msgformer.config.dense_training_options import DetectOptions, SegmentOptions
from msgformer.config.recipes import load_yaml
from msgformer.config.training_options import DistillOptions, OptimOptions, TrainerOptions
from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS, nearest, resolve
from msgformer.plugins import plugin_options
from msgformer.runs.output_folder import CONFIG_FILE
from msgformer.tasks import get_task
from msgformer.tasks.train_options import changed_option, check_train_options

FREE_TO_CHANGE = (
    "plugins",
    "report",
    "workers",
    "trainer.accelerator",
    "trainer.checkpoint_minutes",
    "trainer.compile",
    "trainer.logger",
    "trainer.progress",
    "trainer.start_method",
)
"""Settings that a resumed run may have otherwise: they don't decide what is computed, only how."""


@dataclass(frozen=True)
class TrainSettings:
    """The arguments of :func:`msgformer.train` by the same names, without those that only say where a run lies."""

    model: str
    data: str | None
    epochs: int
    task: str
    img_size: int | tuple[int, int] | None
    batch_size: int
    workers: int | None
    seed: int
    val_fraction: float
    on_bad_image: OnBadImage
    balance: Balance
    pretrained: bool
    init_from: str | None
    teacher: str | None
    model_args: dict[str, Any]
    preprocess: PreprocessOptions
    augment: AugmentOptions
    detect: DetectOptions
    detect_images: DetectImageOptions
    segment: SegmentOptions
    segment_images: SegmentImageOptions
    distill: DistillOptions
    optim: OptimOptions
    trainer: TrainerOptions
    report: bool
    plugins: list[str]

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> TrainSettings:
        """The settings among the arguments of `msgformer.train`, as a configuration file holds them.

        Args:
            arguments: By name; others are left out.
        """
        values = {field.name: arguments[field.name] for field in dataclasses.fields(cls)}
        for name in ("data", "teacher"):
            values[name] = None if values[name] is None else str(values[name])
        if values["init_from"] is not None:
            values["init_from"] = str(Path(values["init_from"]).expanduser().absolute())
        return cls(**{**values, "model_args": values["model_args"] or {}, "plugins": list(values["plugins"] or ())})

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width, if they are given."""
        if self.img_size is None or isinstance(self.img_size, int):
            return None if self.img_size is None else (self.img_size, self.img_size)
        height, width = self.img_size
        return height, width

    def checked(self) -> TrainSettings:
        """These settings with absolute paths of data and teacher, as far as they can be checked without torch.

        Raises:
            UserError: a number is out of range, the model's name is mistyped, the data isn't laid out as it must
                be, or a compiler is needed and missing.
        """
        check_choices(TrainSettings, vars(self))
        check_train_options(self)
        check_model(self.model)
        check_ranges(dict(_flat(self.to_dict())))
        if self.optim.warmup_epochs > self.epochs:
            raise UserError(
                f"optim.warmup_epochs is {self.optim.warmup_epochs:g}, but epochs is {self.epochs}; give fewer"
            )
        self._check_ema()
        self._check_distill()
        for key, instead in (("num_classes", "the class folders tell it"), ("img_size", "give --img_size instead")):
            if key in self.model_args:
                raise UserError(f"model_args: {key} can't be given here; {instead}")
        if self.trainer.compile:
            check_compiler()
        check_trackers(self.trainer.trackers)
        data = None if self.data is None else get_task(self.task).resolve_data(self.data)
        return replace(self, data=data, teacher=None if self.teacher is None else find_teacher(self.teacher))

    def _check_ema(self) -> None:
        ema = self.optim.ema
        if ema is None:
            return
        if not 0 < ema < 1:
            raise UserError(f"optim.ema must lie between 0 and 1, such as 0.9999, not {ema}; null turns it off")
        if self.trainer.precision == "bf16-true":
            raise UserError("optim.ema needs weights of 32 bits: use trainer.precision bf16-mixed, not bf16-true")

    def _check_distill(self) -> None:
        default = DistillOptions()
        if self.teacher is None and self.distill != default:
            key = changed_option(self.distill, default)
            raise UserError(f"distill.{key} is about a teacher; give one by --teacher, or leave it out")
        if self.distill.hard and self.distill.temperature != default.temperature:
            raise UserError("distill.temperature is not for distill.hard; leave one of them out")

    def to_dict(self) -> dict[str, Any]:
        """The settings in plain values, as YAML holds them."""
        return _plain(dataclasses.asdict(self))

    def write(self, path: Path) -> None:
        """Write the YAML that ``msgformer train --config`` repeats the run with."""
        path.write_text(self.to_yaml(CONFIG_FILE), encoding="utf-8")

    def to_yaml(self, name: str, **where: Path | None) -> str:
        """The YAML that ``msgformer train --config`` repeats the run with.

        Args:
            name: What the file is called.
            **where: Further options that say where the run lies, those that are None left out.
        """
        places = {key: str(path.expanduser().absolute()) for key, path in where.items() if path is not None}
        command = f"msgformer train --config {name} {plugin_options(self.plugins)}".rstrip()
        text = yaml.safe_dump({**self.to_dict(), **places}, sort_keys=False, allow_unicode=True)
        return f"# Repeats this run: {command}\n{text}"

    def check_unchanged(self, path: Path) -> None:
        """Make sure that a run is resumed with the settings that it was begun with.

        Raises:
            UserError: one differs from what ``path`` holds, and isn't free to change.
        """
        before, now = dict(_flat(load_yaml(path))), dict(_flat(self.to_dict()))
        for key in (*before, *now):
            if before.get(key) != now.get(key) and key not in FREE_TO_CHANGE:
                raise UserError(
                    f"resume: {key} is {before.get(key)!r} in {path}, not {now.get(key)!r}; a run goes on with its"
                    " own settings, so leave it out or begin a new run"
                )


def check_model(name: str) -> None:
    """Refuse a name that is one of this package's mistyped; others may be timm's, and are checked by it.

    Raises:
        UserError: names the nearest name.
    """
    if name.startswith(("msg_", "sgformer")) or nearest(name, (*MODELS, *ALIASES), cutoff=0.8):
        resolve(name)


def find_teacher(teacher: str) -> str:
    """The absolute path of a teacher's checkpoint; or its name, if it is a model of timm.

    Raises:
        UserError: it looks like a path, and there is no checkpoint; or it is one of this package's names mistyped.
    """
    path = Path(teacher).expanduser()
    if path.exists() or path.suffix in WEIGHTS_SUFFIXES or (len(path.parts) > 1 and ":" not in teacher):
        return str(find_checkpoint(path).absolute())
    check_model(teacher)
    return teacher


def check_compiler(option: str = "--trainer.compile") -> None:
    """Make sure that torch.compile will find the C++ compiler it needs.

    Args:
        option: What asks for it.

    Raises:
        UserError: there is none.
    """
    candidates = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    if os.name != "nt" and not any(shutil.which(name) for name in candidates if name):
        raise UserError(
            f"{option.removeprefix('--')} needs a C++ compiler (torch's Inductor writes C++), and none was found;"
            f" install g++ or clang, name one in CXX, or leave {option} out"
        )


def check_trackers(trackers: Iterable[str]) -> None:
    """Make sure that what epochs' numbers are to be sent to is installed.

    Raises:
        UserError: it isn't.
    """
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"trainer.logger: {name} isn't installed; run uv sync --extra {name}, or leave it out")


def _plain(value: Any) -> Any:
    """``value`` with paths as strings and tuples as lists, all the way down."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values under dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
