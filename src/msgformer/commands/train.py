"""``msgformer train``: from images in folders to a classifier, a detector or a segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgformer.config.data_options import AugmentOptions, Balance, OnBadImage, PreprocessOptions
from msgformer.config.dense_data_options import DetectImageOptions, SegmentImageOptions
from msgformer.config.dense_training_options import DetectOptions, SegmentOptions
from msgformer.config.parser import configured_by
from msgformer.config.recipes import load_config
from msgformer.config.schedule import fit_schedule
from msgformer.config.training_options import DistillOptions, OptimOptions, TrainerOptions
from msgformer.data.files.folder import require_path
from msgformer.errors import UserError
from msgformer.plugins import require_plugins
from msgformer.runs.output_folder import CONFIG_FILE, check_output, find_run
from msgformer.runs.train_settings import TrainSettings
from msgformer.tasks import DEFAULT_TASK, TaskName, get_task
from msgformer.tasks.classification.train_result import TrainResult
from msgformer.tasks.dense.train_result import DenseTrainResult
from msgformer.tasks.train_options import check_config


def underlying_settings(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The configuration that explicit arguments are laid over.

    That is ``config`` if it is given, the run's own if one is resumed, and otherwise a recipe that suits the data.
    A configuration's ``model_args`` go with its model, and are left out where another is given; its warm-up is
    shortened where fewer epochs are given than it lasts, and its milestones are moved with the end.

    Raises:
        UserError: the configuration is for another task than the one that is given.
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
    """Make sure that a new run has one start at most, and that its file is there.

    Raises:
        UserError: it has two, or the file isn't there.
    """
    if settings.init_from is None:
        return
    if settings.pretrained:
        raise UserError(f"pretrained and init_from are both given ({settings.init_from}); leave one of them out")
    if require_path(Path(settings.init_from), "init_from").is_dir():
        raise UserError(f"init_from: {settings.init_from} is a folder; give a file, such as best.ckpt in a run folder")


def show_config(**arguments: Any) -> str:
    """The YAML that repeats a training with these arguments, which are checked as far as that needs no model.

    Raises:
        UserError: something given isn't there, isn't known or can't be used.
    """
    output, resume = arguments.pop("output"), arguments.pop("resume")
    settings = TrainSettings.of(arguments).checked()
    return settings.to_yaml("FILE", output=output, resume=resume)


@configured_by(underlying_settings, show=show_config, python_only=("callbacks",))
def train(
    model: str = "msg_transformer_tiny",
    data: str | Path | None = None,
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
    """Train a classifier, a detector or a segmenter, on a folder of images or on embedded data.

    Without config a recipe is followed: 'embedded/digits' without data and 'finetune' with some, for detection
    'embedded/detect' and 'detect', for segmentation 'embedded/segment' and 'segment'. In Python, a mapping such as
    ``optim={"lr": 1e-3}`` or ``model_args={"window_size": 4}`` changes single settings of a group, as the command line
    does, and the dataclass all of them.

    Args:
        model: Name of one of this package's models, or of any of timm's.
        data: Folder with train/ and val/, each with a folder a class, or with class folders alone, which are then
            split; or SCHEME:LOCATION, such as tar:FILE, wds:SHARDS, hfds:NAME or torch:NAME:FOLDER. Detection reads
            folders in COCO's or Pascal VOC's layout, segmentation in ADE20K's or Cityscapes'. By default
            scikit-learn's 1,797 handwritten digits, and for the other tasks scenes of them, as sample-data makes them.
        epochs: How often every training image is seen.
        config: YAML file or recipe that gives whatever isn't given here.
        task: What to train for: a class for each image, boxes and masks, or a class for each pixel.
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
        init_from: Start from the weights in a file: of a run's best.ckpt, of convert or init-from, or an official one.
            A classifier takes new classes where they differ; a detector or segmenter takes them for its backbone.
        teacher: A classifier of the same classes to learn from as well: a run folder, a checkpoint in one, or a model
            of timm by name, whose weights are then fetched.
        model_args: Further arguments of the model's constructor, such as --model_args.window_size 4.
        preprocess: How images are brought to the model's input.
        augment: How training images are varied, in classification.
        detect: The detector.
        detect_images: How images are sized and varied for a detector.
        segment: The segmenter.
        segment_images: How images are sized and varied for a segmenter.
        distill: How is learned from the teacher.
        optim: Optimiser and learning rate.
        trainer: The machine, and how steps run on it.
        report: Write report.html at the end, as 'msgformer report' does later.
        plugins: Modules, by their dotted names or as .py files, to import first because they register exchanges,
            messengers or models; their code is executed. Once for each, or '[a, b]'. The run records their names. Those
            that a configuration or a resumed run names must be given here as well, or be imported already.
        callbacks: Lightning callbacks to train with, in Python only. A run doesn't record them: give them again to
            resume it.

    Returns:
        The best epoch's scores, and where everything is.

    Raises:
        UserError: something given isn't there, isn't known or can't be used; the message says what to do.
    """
    settings = TrainSettings.of(locals()).checked()
    output, resume = (path and Path(path) for path in (output, resume))  # strings, in Python
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
