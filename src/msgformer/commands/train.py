"""``msgformer train``: train a classifier, a detector or a segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgformer.checkpoints.model_location import BEST, SAVED_CONFIG
from msgformer.config.data_options import AugmentOptions, Balance, OnBadImage, PreprocessOptions
from msgformer.config.dense_data_options import DetectImageOptions, SegmentImageOptions
from msgformer.config.dense_training_options import DetectOptions, SegmentOptions
from msgformer.config.parser import configured_by
from msgformer.config.recipes import CONFIG_FILE, load_config
from msgformer.config.schedule import fit_schedule
from msgformer.config.training_options import DistillOptions, OptimOptions, TrainerOptions
from msgformer.data.files.folder import require_path
from msgformer.data.files.locations import DataLike
from msgformer.errors import UserError
from msgformer.plugins import require_plugins
from msgformer.runs.output_folder import check_output, find_run
from msgformer.runs.train_settings import TrainSettings
from msgformer.tasks import DEFAULT_TASK, TaskName, get_task
from msgformer.tasks.classification.train_result import TrainResult
from msgformer.tasks.dense.train_result import DenseTrainResult
from msgformer.tasks.train_options import check_config, other_tasks_options


def resolve_config(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Load the configuration that explicit arguments override.

    This is ``config`` if it is given, the configuration of the run that is resumed, or else the default recipe of the
    task. If another model is given, the ``model_args`` of the configuration are dropped. If another number of epochs is
    given, warm-up and milestones are scaled, see `fit_schedule`.

    Args:
        given: Explicit arguments of `train`.

    Returns:
        The name of the configuration, and its values.

    Raises:
        UserError: The configuration is for another task.
    """
    task = given.get("task", DEFAULT_TASK)
    config = given.get("config")
    if config is None and given.get("resume") is not None:
        config = find_run(Path(given["resume"])) / CONFIG_FILE
    elif config is None:
        chosen = get_task(task)
        config = chosen.bundled_recipe if given.get("data") is None else chosen.data_recipe
    values = load_config(config)
    check_config(config, values, given)
    if given.get("model", values.get("model")) != values.get("model"):
        values.pop("model_args", None)
    if given.get("epochs") is not None:
        fit_schedule(values, int(given["epochs"]))
    return str(config), values


def check_start(settings: TrainSettings) -> None:
    """Check that a new run has at most one source of initial weights, and that this and the split file exist.

    Args:
        settings: Settings of the run.

    Raises:
        UserError: It has two, or a file does not exist.
    """
    if settings.split_file is not None and require_path(Path(settings.split_file), "split_file").is_dir():
        raise UserError(
            f"split_file: {settings.split_file} is a folder; give a file, such as split.csv in a run folder"
        )
    if settings.init_from is None:
        return
    if settings.pretrained:
        raise UserError(f"pretrained and init_from are both given ({settings.init_from}); leave one of them out")
    path = require_path(Path(settings.init_from), "init_from")
    if path.is_dir() and not any((path / name).is_file() for name in (BEST, SAVED_CONFIG)):
        raise UserError(f"init_from: {path} is a folder without {BEST}; give a run folder or a file of weights")


def show_config(**arguments: Any) -> str:
    """Return the YAML that reproduces a training with these arguments.

    Args:
        **arguments: Arguments of `train`; they are checked as far as possible without building the model.

    Raises:
        UserError: An argument can't be used.
    """
    output, resume = arguments.pop("output"), arguments.pop("resume")
    settings = TrainSettings.of(arguments).checked()
    return settings.to_yaml("FILE", output=output, resume=resume)


@configured_by(
    resolve_config,
    show=show_config,
    python_only=("callbacks",),
    hidden=lambda given: other_tasks_options(given.get("task", DEFAULT_TASK)),
)
def train(
    model: str = "msg_transformer_tiny",
    data: DataLike | None = None,
    epochs: int = 300,
    config: str | Path | None = None,  # the decorator reads it
    *,
    task: TaskName = DEFAULT_TASK,
    output: Path | None = None,
    resume: Path | None = None,
    img_size: int | tuple[int, int] | None = None,
    batch_size: int = 128,
    workers: int | None = None,
    seed: int = 0,
    val_fraction: float = 0.2,
    split_seed: int | None = None,
    split_file: Path | None = None,
    split_by: str | None = None,
    folds: int | None = None,
    fold: int | None = None,
    on_bad_image: OnBadImage = "stop",
    balance: Balance = "none",
    pretrained: bool = False,
    init_from: Path | None = None,
    teacher: str | None = None,
    model_args: dict[str, Any] | None = None,
    preprocess: PreprocessOptions = PreprocessOptions(),
    augment: AugmentOptions = AugmentOptions(),
    detect: DetectOptions = DetectOptions(),
    detect_images: DetectImageOptions = DetectImageOptions(),
    segment: SegmentOptions = SegmentOptions(),
    segment_images: SegmentImageOptions = SegmentImageOptions(),
    distill: DistillOptions = DistillOptions(),
    optim: OptimOptions = OptimOptions(),
    trainer: TrainerOptions = TrainerOptions(),
    report: bool = True,
    plugins: list[str] | None = None,
    callbacks: Sequence[Any] | None = None,
) -> TrainResult | DenseTrainResult:
    """Train a classifier, a detector or a segmenter, on a folder of images or on bundled data.

    Without --config, a default recipe applies: 'finetune', 'detect' or 'segment' with --data, and 'embedded/digits',
    'embedded/detect' or 'embedded/segment' on the bundled data. In Python, a mapping such as ``optim={"lr": 1e-3}`` or
    ``model_args={"window_size": 4}`` overrides single options of a group, as on the command line; a dataclass replaces
    the group.

    Args:
        model: Name of a model of this package or of timm.
        data: Folder with train/ and val/, each with one folder per class; a folder with one folder per class, which is
            then split; a CSV or Parquet file with the columns image, label and, optionally, split; or SCHEME:LOCATION,
            such as tar:FILE, wds:SHARDS, hfds:NAME or torch:NAME:FOLDER. Detection reads the COCO, Pascal VOC,
            YOLO and LabelMe layouts, and explicit paths: --data.annotations FILE --data.images FOLDER. Segmentation
            reads the ADE20K and Cityscapes layouts. By default the bundled data: scikit-learn's
            1,797 handwritten digits, and for the other tasks images as 'msgformer sample-data' writes them.
        epochs: Number of epochs.
        config: YAML file or recipe for all options that are not given explicitly.
        task: "classify" (one class per image), "detect" (boxes and masks) or "segment" (one class per pixel).
        output: New run folder; by default the next free folder in runs/.
        resume: Run folder to resume, with its own settings.
        img_size: Image size: the side of a square, or height and width; by default that of the model.
        batch_size: Images per batch and device.
        workers: Processes that load and augment images; by default the number of cores minus one, at most 8.
        seed: Random seed.
        val_fraction: Fraction of each class to hold out if the data has no val/; 0 trains on all images. This and the
            next five options are for classification and detection.
        split_seed: Seed of the split; by default the seed.
        split_file: CSV file with the columns name (or image) and subset (or split) that assigns each image to train,
            val or test, such as split.csv of a run; for data without val/.
        split_by: Keeps images that belong together, such as those of one patient, on one side of the split: a column
            of the table of labels, or a regular expression whose first group (or whole match) in the name of an image
            is the image's group.
        folds: Number of folds of a cross-validation, instead of val_fraction; give the same split_seed for all folds.
        fold: Number of the fold that is held out, from 1.
        on_bad_image: At images that can't be read: "stop", or "skip" those found when all images are checked before
            training; they are listed in skipped.csv in the run folder.
        balance: For classes of different sizes: "sampler" draws all classes equally often, "loss" weights the loss of
            each image by the inverse frequency of its class (classification). In detection and segmentation, the class
            of an image is the one in it that the fewest images show.
        pretrained: Start from the pretrained weights that timm provides for the model.
        init_from: Weights to start from: a run folder (its best.ckpt) or a checkpoint in one, a file of 'msgformer
            convert' or 'msgformer init-from', or an official checkpoint. Classes are matched by name, new ones are
            initialized; detectors and segmenters load a run of their own task, or a classifier into their backbone.
        teacher: Classifier of the same classes to distill from: a run folder, a checkpoint in one, or the name of a
            timm model, whose pretrained weights are then downloaded.
        model_args: Further arguments of the model's constructor, such as --model_args.window_size 4.
        preprocess: Preprocessing of images.
        augment: Augmentation of training images in classification.
        detect: Detector options.
        detect_images: Image sizes and augmentation in detection.
        segment: Segmenter options.
        segment_images: Image sizes and augmentation in segmentation.
        distill: Distillation options.
        optim: Optimizer and learning rate schedule.
        trainer: Devices, precision and other options of the training loop.
        report: Write report.html at the end, as 'msgformer report' does.
        plugins: Module that registers exchanges, messengers or models, by its dotted name or as a .py file; it is
            imported first, and its code is executed. Repeat the option for several, or pass '[a, b]'. The run records
            the names. Plug-ins named by a configuration or by a resumed run must be given here, too, or already be
            imported.
        callbacks: Lightning callbacks (Python only). The run does not record them: pass them again to resume it.

    Returns:
        The scores of the best epoch, and the files of the run.

    Examples:
        msgformer train
        msgformer train --data FOLDER --model msg_transformer_tiny --epochs 50
        msgformer train --task detect --data COCO_FOLDER --trainer.accumulate_grad_batches 4
        msgformer train --resume runs/digits-1
        msgformer train --task segment --help    (the options and defaults of another task)

    Raises:
        UserError: An argument can't be used; the message says why and what to do.
    """
    settings = TrainSettings.of(locals()).checked()
    output, resume = (path and Path(path) for path in (output, resume))  # Python callers may pass strings
    if resume is None:
        check_output(output)
        check_start(settings)
    else:
        resume = find_run(resume)
        settings.check_unchanged(resume / CONFIG_FILE)
    require_plugins(settings.plugins, "the configuration" if resume is None else resume / CONFIG_FILE)

    from msgformer.runs.fit import fit
    from msgformer.training.callbacks import check_callbacks

    outcome = fit(settings, output, resume, check_callbacks(callbacks))
    return get_task(task).train_result(outcome)  # type: ignore[return-value]
