import math

import pytest

from msgformer.commands.average import average
from msgformer.commands.benchmark import benchmark
from msgformer.commands.convert import convert
from msgformer.commands.embed import embed
from msgformer.commands.evaluate import evaluate
from msgformer.commands.explain import explain
from msgformer.commands.export import export
from msgformer.commands.models import models
from msgformer.commands.predict import iter_predictions, predict
from msgformer.commands.report import report
from msgformer.commands.study import study
from msgformer.commands.train import train
from msgformer.config.constraints import ASCENDING, NEEDED, RANGES, check_choices, check_effects, check_ranges
from msgformer.config.data_options import AugmentOptions
from msgformer.config.dense_data_options import DetectImageOptions, SegmentImageOptions
from msgformer.config.dense_training_options import DetectOptions, SegmentOptions
from msgformer.config.parser import Options
from msgformer.config.training_options import OptimOptions, TrainerOptions
from msgformer.errors import UserError


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 0, "epochs must be at least 1, not 0"),
        ("val_fraction", 1, "val_fraction must lie between 0 and 1, not 1"),
        ("augment.hflip", 1.5, "augment.hflip must lie between 0 and 1, not 1.5"),
        ("optim.eps", 0, "optim.eps must be above 0, not 0"),
        ("preprocess.std", [0.2, -1, 0.2], "preprocess.std must be above 0, not -1"),
        ("optim.lr", math.nan, "optim.lr must be at least 0, not nan"),
        ("optim.lr", math.inf, "optim.lr must be at least 0, not inf"),
        ("augment.scale", [0.5, 0.1], "augment.scale must ascend, not be 0.5 and 0.1; swap them"),
    ],
)
def test_numbers_out_of_range_are_refused(key, value, message):
    with pytest.raises(UserError) as error:
        check_ranges({key: value})
    assert str(error.value) == message


def test_numbers_in_range_pass():
    check_ranges({"epochs": 1, "augment.hflip": 1, "augment.scale": [0.1, 0.1], "optim.eps": None, "unknown": -1})


WITHOUT_EFFECT = {
    "augment.color_jitter": AugmentOptions(auto_augment="rand-m9"),
    "augment.color_jitter_prob": AugmentOptions(auto_augment="augmix-m3"),
    "augment.erasing_mode": AugmentOptions(erasing=0),
    "augment.erasing_count": AugmentOptions(erasing=0),
    "augment.mix_prob": AugmentOptions(mixup=0, cutmix=0),
    "augment.mix_switch_prob": AugmentOptions(cutmix=0),
    "augment.mix_mode": AugmentOptions(mixup=0, cutmix=0),
    "augment.mix_off_epoch": AugmentOptions(mixup=0, cutmix=0),
    "detect.fc_channels": DetectOptions(head="retinanet"),
    "detect.train_proposals": DetectOptions(head="retinanet"),
    "detect.test_proposals": DetectOptions(head="retinanet"),
    "detect.rois_per_image": DetectOptions(head="retinanet"),
    **{
        f"detect_images.{name}": DetectImageOptions(tile=64)
        for name in ("train_sides", "max_side", "crop", "crop_resize", "crop_sides", "test_side", "test_max_side")
    },
    "segment.auxiliary": SegmentOptions(head="semantic_fpn"),
    "segment.auxiliary_weight": SegmentOptions(auxiliary=False),
    "segment_images.label_map": SegmentImageOptions(reduce_zero_label=True),
    "optim.layer_decay_scratch": OptimOptions(layer_decay=None),
    "optim.decay_rate": OptimOptions(schedule="cosine"),
    "optim.power": OptimOptions(schedule="multistep"),
    "optim.min_lr": OptimOptions(schedule="constant"),
}
WITH_EFFECT = {
    "detect_images": DetectImageOptions(),
    "augment": AugmentOptions(auto_augment="3a"),
    "detect": DetectOptions(),
    "segment": SegmentOptions(),
    "segment_images": SegmentImageOptions(),
    "optim.layer_decay_scratch": OptimOptions(layer_decay=0.9),
    "optim.decay_rate": OptimOptions(schedule="multistep"),
    "optim.power": OptimOptions(schedule="poly"),
    "optim.min_lr": OptimOptions(schedule="poly"),
}


@pytest.mark.parametrize("key", NEEDED)
def test_options_without_effect_are_refused(key):
    group = key.partition(".")[0]
    with pytest.raises(UserError, match=f"{key} has an effect only with .*{group}"):
        check_effects([key], {group: WITHOUT_EFFECT[key]})
    check_effects([key], {group: WITH_EFFECT.get(key) or WITH_EFFECT[group]})
    check_effects([], {group: WITHOUT_EFFECT[key]})


def test_options_of_a_disabled_group_are_refused():
    arguments = {"augment": AugmentOptions(enabled=False)}
    with pytest.raises(UserError, match=r"augment\.hflip has no effect with augment\.enabled false"):
        check_effects(["augment.hflip"], arguments)
    check_effects(["augment.enabled", "epochs"], arguments)


def test_explicit_options_must_have_an_effect_on_the_command_line_and_in_python():
    with pytest.raises(UserError, match=r"optim\.power has an effect only with optim\.schedule poly"):
        Options(train).parse(["--optim.power", "2"])
    with pytest.raises(UserError, match=r"optim\.power has an effect only with optim\.schedule poly"):
        train(optim={"power": 2})
    Options(train).parse(["--optim.power", "2", "--optim.schedule", "poly"])


def test_options_of_a_recipe_may_lose_their_effect():
    values, _ = Options(train).parse(["--task", "detect", "--detect.head", "retinanet"])
    assert values["detect"].fc_channels == 128


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (predict, {"format": "xml"}, "format must be jsonl, csv or parquet, not 'xml'"),
        (predict, {"backend": "jax"}, "backend must be torch or mindspore, not 'jax'"),
        (evaluate, {"crop_mode": "cut"}, "crop_mode must be center, squash or border, not 'cut'"),
        (benchmark, {"backend": ["eager", "jit"]}, "backend must be eager, .*, not 'jit'"),
        (explain, {"progress": 3}, "progress must be auto, bar, lines or none, not 3"),
        (export, {"format": "tflite"}, "format must be onnx, .*, not 'tflite'"),
        (train, {"trainer": TrainerOptions(precision="8")}, r"trainer\.precision must be auto, .*, not '8'"),
    ],
)
def test_unknown_choices_are_refused(command, arguments, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        check_choices(command, arguments)


def test_known_choices_pass():
    check_choices(predict, {"format": None, "progress": "bar", "top_k": 3})
    check_choices(benchmark, {"backend": ["eager", "compile"], "img_size": [(2, 3)]})


@pytest.mark.parametrize(
    ("command", "given", "options"),
    [
        (predict, ["run", "a.png"], {"format": "x"}),
        (iter_predictions, ["run", "a.png"], {"backend": "x"}),
        (evaluate, ["run"], {"interpolation": "x"}),
        (embed, ["run", "a.png"], {"progress": "x"}),
        (export, ["run"], {"format": "x"}),
        (explain, ["run", "a.png"], {"progress": "x"}),
        (report, ["run"], {"on_bad_image": "x"}),
        (benchmark, ["run"], {"mode": "x"}),
        (average, [["a", "b"]], {"progress": "x"}),
        (convert, ["a.pth", "b.safetensors"], {"to": "x"}),
        (train, [], {"balance": "x"}),
    ],
)
def test_commands_check_their_choices_first(command, given, options):
    with pytest.raises(UserError, match=rf"^{next(iter(options))} must be .* or .*, not 'x'$"):
        command(*given, **options)


def test_every_range_belongs_to_an_option():
    commands = (train, evaluate, predict, explain, models, benchmark, study)
    known = {key for command in commands for key in Options(command).keys}
    assert {*RANGES, *ASCENDING} <= known
