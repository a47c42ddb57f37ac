"""``msgformer train``: from images in folders to a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgformer.api.options import configured_by
from msgformer.api.recipes import find_config, load_yaml
from msgformer.api.result import Result
from msgformer.api.runs import CONFIG_FILE, check_output, find_run
from msgformer.api.train_settings import TrainSettings
from msgformer.data.options import AugmentOptions, Balance, OnBadImage, PreprocessOptions
from msgformer.training.options import OptimOptions, TrainerOptions

DIGITS_RECIPE = "embedded/digits"
FOLDER_RECIPE = "finetune"


@dataclass(frozen=True)
class TrainResult(Result):
    """What a training came to.

    Attributes:
        run: Run folder.
        checkpoint: Weights of the best epoch.
        epoch: The best epoch, from 1.
        top1: Its validation accuracy in per cent.
        top5: Likewise, the right class among the five likeliest.
        loss: Its validation loss.
        epochs: Epochs that have been trained.
        seconds: How long this call took.
    """

    run: Path
    checkpoint: Path
    epoch: int
    top1: float
    top5: float
    loss: float
    epochs: int
    seconds: float

    def table(self) -> str:
        """The best epoch, and what to do next."""
        return (
            f"best epoch {self.epoch} of {self.epochs}: top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %,"
            f" loss {self.loss:.4f} ({self.seconds:.0f} s)\n"
            f"run folder {self.run}; 'msgformer predict {self.run} IMAGE ...' names what images show"
        )


def underlying_settings(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The configuration that explicit arguments are laid over.

    That is ``config`` if it is given, the run's own if one is resumed, and otherwise a recipe that suits the data.
    A configuration's ``model_args`` go with its model, and are left out where another is given; its warm-up is
    shortened where fewer epochs are given than it lasts.
    """
    config = given.get("config")
    if config is None and given.get("resume") is not None:
        config = find_run(Path(given["resume"])) / CONFIG_FILE
    elif config is None:
        config = DIGITS_RECIPE if given.get("data") is None else FOLDER_RECIPE
    values = load_yaml(find_config(config))
    if given.get("model", values.get("model")) != values.get("model"):
        values.pop("model_args", None)
    if given.get("epochs") is not None:
        fit_warmup(values, int(given["epochs"]))
    return str(config), values


def fit_warmup(values: dict[str, Any], epochs: int) -> None:
    """Shorten a configuration's warm-up to its part of ``epochs``, where it would last longer than they do."""
    optim = values.get("optim", {})
    warmup, planned = optim.get("warmup_epochs", 0), values.get("epochs", epochs)
    if warmup > epochs:
        values["optim"] = {**optim, "warmup_epochs": warmup * epochs // planned}


@configured_by(underlying_settings)
def train(
    model: str = "msg_transformer_tiny",
    data: str | Path | None = None,
    epochs: int = 300,
    config: str | Path | None = None,  # noqa: ARG001  (the decorator reads it)
    *,
    task: Literal["classify"] = "classify",
    output: Path | None = None,
    resume: Path | None = None,
    img_size: int | tuple[int, int] | None = None,
    batch_size: int = 128,
    workers: int | None = None,
    seed: int = 0,
    val_fraction: float = 0.2,
    on_bad_image: OnBadImage = "stop",
    balance: Balance = "none",
    pretrained: bool = False,
    model_args: dict[str, Any] | None = None,
    preprocess: PreprocessOptions = PreprocessOptions(),
    augment: AugmentOptions = AugmentOptions(),
    optim: OptimOptions = OptimOptions(),
    trainer: TrainerOptions = TrainerOptions(),
) -> TrainResult:
    """Train a classifier, on a folder of images or on the embedded digits.

    Without data and config the recipe 'embedded/digits' is followed, with data 'finetune'. In Python, a mapping such
    as ``optim={"lr": 1e-3}`` changes single settings of a group, and the dataclass all of them.

    Args:
        model: Name of one of this package's models, or of any of timm's.
        data: Folder with train/ and val/, each with a folder a class, or with class folders alone, which are then
            split; or SCHEME:LOCATION, such as tar:FILE, wds:SHARDS, hfds:NAME or torch:NAME:FOLDER; by default
            scikit-learn's 1,797 handwritten digits.
        epochs: How often every training image is seen.
        config: YAML file or recipe that gives whatever isn't given here.
        task: What to train for.
        output: New folder for the run; by default the next free one under runs/.
        resume: Run folder to go on with, by its own settings.
        img_size: Side of the square, or height and width, that images are brought to; by default the model's own.
        batch_size: Images a batch and device.
        workers: Processes that read and augment images; by default one less than there are cores, at most 8.
        seed: Number that all randomness follows from.
        val_fraction: Part of each class to hold out, where the data has no val/.
        on_bad_image: At images that can't be read, "stop", or "skip" those that a look at all of them beforehand
            finds; they are listed in the run's skipped.csv.
        balance: Where classes have different numbers of images, show all classes equally often ("sampler"), or
            weight the "loss" of each image by how rare its class is.
        pretrained: Start from the weights that timm offers for the model.
        model_args: Further arguments of the model's constructor, such as --model_args.window_size 4.
        preprocess: How images are brought to the model's input.
        augment: How training images are varied.
        optim: Optimiser and learning rate.
        trainer: The machine, and how steps run on it.

    Returns:
        The best epoch's scores, and where everything is.

    Raises:
        UserError: something given isn't there, isn't known or can't be used; the message says what to do.
    """
    settings = TrainSettings(
        model=model,
        data=None if data is None else str(data),
        epochs=epochs,
        task=task,
        img_size=img_size,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        val_fraction=val_fraction,
        on_bad_image=on_bad_image,
        balance=balance,
        pretrained=pretrained,
        model_args=model_args or {},
        preprocess=preprocess,
        augment=augment,
        optim=optim,
        trainer=trainer,
    ).checked()
    output, resume = (path and Path(path) for path in (output, resume))  # strings, in Python
    if resume is None:
        check_output(output)
    else:
        resume = find_run(resume)
        settings.check_unchanged(resume / CONFIG_FILE)

    from msgformer.api.fitting import fit

    return TrainResult(**fit(settings, output, resume))
