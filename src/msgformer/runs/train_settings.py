"""Settings of a training: checks, and the YAML file that repeats the run."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from msgformer.checkpoints.model_location import WEIGHTS_SUFFIXES, find_checkpoint
from msgformer.config.constraints import GROUPS, check_choices, check_ranges
from msgformer.config.data_options import AugmentOptions, Balance, OnBadImage, PreprocessOptions
from msgformer.config.dense_data_options import DetectImageOptions, SegmentImageOptions
from msgformer.config.dense_training_options import DetectOptions, SegmentOptions
from msgformer.config.recipes import CONFIG_FILE, load_config
from msgformer.config.training_options import DistillOptions, OptimOptions, TrainerOptions
from msgformer.data.files.locations import data_text
from msgformer.data.loading.split import Folds, SplitRule
from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS, nearest, resolve
from msgformer.plugins import plugin_options
from msgformer.tasks import get_task
from msgformer.tasks.train_options import changed_option, check_train_options
from msgformer.utils.packages import require_package

CHANGEABLE_ON_RESUME = (
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
"""Settings that may differ in a resumed run, since they don't affect what is computed."""


@dataclass(frozen=True)
class TrainSettings:
    """The arguments of `msgformer.train` under the same names, without those that only locate the run."""

    model: str
    data: str | None
    epochs: int
    task: str
    img_size: int | tuple[int, int] | None
    batch_size: int
    workers: int | None
    seed: int
    val_fraction: float
    split_seed: int | None
    split_file: str | None
    split_by: str | None
    folds: int | None
    fold: int | None
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
        """Return the settings among the arguments of `msgformer.train`.

        Args:
            arguments: Arguments by name, also those that only locate the run.
        """
        values = {field.name: arguments[field.name] for field in dataclasses.fields(cls)}
        values["data"] = None if values["data"] is None else data_text(values["data"])
        values["teacher"] = None if values["teacher"] is None else str(values["teacher"])
        for name in ("init_from", "split_file"):
            if values[name] is not None:
                values[name] = str(Path(values[name]).expanduser().absolute())
        return cls(**{**values, "model_args": values["model_args"] or {}, "plugins": list(values["plugins"] or ())})

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the images; None if they are not given."""
        if self.img_size is None or isinstance(self.img_size, int):
            return None if self.img_size is None else (self.img_size, self.img_size)
        height, width = self.img_size
        return height, width

    def checked(self) -> TrainSettings:
        """Check the settings without importing torch, and return them with absolute paths of data and teacher.

        Raises:
            UserError: A value is out of range, the model's name is mistyped, the data has an unknown layout, or a
                required compiler or package is missing.
        """
        check_choices(TrainSettings, vars(self))
        check_train_options(self)
        check_model(self.model)
        check_ranges(dict(_flatten(self.to_dict())))
        if self.optim.warmup_epochs > self.epochs:
            raise UserError(
                f"optim.warmup_epochs is {self.optim.warmup_epochs:g}, but epochs is {self.epochs}; give fewer"
            )
        self._check_split()
        self._check_ema()
        self._check_distill()
        for key, remedy in (
            ("num_classes", "it is the number of class folders"),
            ("img_size", "give --img_size instead"),
        ):
            if key in self.model_args:
                raise UserError(f"model_args: {key} can't be given here; {remedy}")
        if self.trainer.compile:
            check_compiler()
        check_trackers(self.trainer.trackers)
        data = None if self.data is None else get_task(self.task).resolve_data(self.data)
        return replace(self, data=data, teacher=None if self.teacher is None else resolve_teacher(self.teacher))

    def _check_split(self) -> None:
        if self.folds is None or self.fold is None:
            if self.folds is not None or self.fold is not None:
                given, missing = ("folds", "fold") if self.fold is None else ("fold", "folds")
                raise UserError(f"{given} needs {missing}, as in --folds 5 --fold 1; give both, or neither")
        elif self.fold > self.folds:
            raise UserError(f"fold must be at most {self.folds}, the number of folds, not {self.fold}")
        if self.split_file is not None:
            self._check_unused(("folds", "split_by", "split_seed"), "split_file")
        elif self.folds is None and self.val_fraction == 0:
            self._check_unused(("split_by", "split_seed"), "val_fraction 0")
            if self.trainer.patience is not None:
                raise UserError("trainer.patience has no effect with val_fraction 0: no image is left to validate on")

    def _check_unused(self, names: Sequence[str], reason: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise UserError(f"{name} has no effect with {reason}; leave one of them out")

    @property
    def split_rule(self) -> SplitRule:
        """How the data is split if it has no validation images."""
        return SplitRule(
            self.val_fraction,
            self.seed if self.split_seed is None else self.split_seed,
            None if self.folds is None or self.fold is None else Folds(self.folds, self.fold),
            None if self.split_file is None else Path(self.split_file),
            self.split_by,
            has_own_seed=self.split_seed is not None,
        )

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
            raise UserError(f"distill.{key} needs a teacher; give one by --teacher, or leave it out")
        if self.distill.hard and self.distill.temperature != default.temperature:
            raise UserError("distill.temperature is not for distill.hard; leave one of them out")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in plain values for YAML."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values

    def write(self, path: Path) -> None:
        """Write the YAML file with which ``msgformer train --config`` repeats the run."""
        path.write_text(self.to_yaml(CONFIG_FILE), encoding="utf-8")

    def to_yaml(self, name: str, **where: Path | None) -> str:
        """Return the YAML text with which ``msgformer train --config`` repeats the run.

        Args:
            name: Name of the YAML file.
            **where: Further options that locate the run; None leaves one out.
        """
        places = {key: str(path.expanduser().absolute()) for key, path in where.items() if path is not None}
        command = f"msgformer train --config {name} {plugin_options(self.plugins)}".rstrip()
        text = yaml.safe_dump({**self.to_dict(), **places}, sort_keys=False, allow_unicode=True)
        return f"# Repeats this run: {command}\n{text}"

    def check_unchanged(self, path: Path) -> None:
        """Check that a run is resumed with the settings that it was started with.

        Args:
            path: The run's configuration file.

        Raises:
            UserError: A setting differs that isn't in `CHANGEABLE_ON_RESUME`.
        """
        # An earlier version may lack an option of today; its default then computes the same.
        defaults = _plain({name: dataclasses.asdict(group()) for name, group in GROUPS.items()})
        before, now = dict(_flatten(defaults)) | dict(_flatten(load_config(path))), dict(_flatten(self.to_dict()))
        for key in (*before, *now):
            if before.get(key) != now.get(key) and key not in CHANGEABLE_ON_RESUME:
                raise UserError(
                    f"resume: {key} is {before.get(key)!r} in {path}, not {now.get(key)!r}; a resumed run has the"
                    " settings that it was started with, so leave it out or start a new run"
                )


def check_model(name: str) -> None:
    """Refuse a mistyped name of this package's models; names of other models are checked later, by timm.

    Raises:
        UserError: The name is mistyped; the message has the nearest one.
    """
    if name.startswith(("msg_", "sgformer")) or nearest(name, (*MODELS, *ALIASES), cutoff=0.8):
        resolve(name)


def resolve_teacher(teacher: str) -> str:
    """Return the absolute path of a teacher's checkpoint, or its name if it is a model of timm.

    Raises:
        UserError: There is no checkpoint at the path, or the name is a mistyped one of this package.
    """
    path = Path(teacher).expanduser()
    if path.exists() or path.suffix in WEIGHTS_SUFFIXES or (len(path.parts) > 1 and ":" not in teacher):
        return str(find_checkpoint(path, "teacher").absolute())
    check_model(teacher)
    return teacher


def check_compiler(option: str = "--trainer.compile") -> None:
    """Check that there is a C++ compiler, which torch.compile needs.

    Args:
        option: Option that requires it, for the error message.

    Raises:
        UserError: There is none.
    """
    candidates = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    if os.name != "nt" and not any(shutil.which(name) for name in candidates if name):
        raise UserError(
            f"{option.removeprefix('--')} needs a C++ compiler (torch's Inductor writes C++), and none was found;"
            f" install g++ or clang, name one in CXX, or leave {option} out"
        )


def check_trackers(trackers: Iterable[str]) -> None:
    """Check that the packages of experiment trackers are installed.

    Args:
        trackers: Names of the trackers, which are those of their packages and of this package's extras.

    Raises:
        UserError: One is missing.
    """
    for name in trackers:
        require_package(name, name, f"trainer.logger {name}")


def _plain(value: Any) -> Any:
    """Return a nested value with paths as strings and tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values by dotted key, such as ``optim.lr``."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
