from pathlib import Path

import pytest

from config.echo_commands import Optim, convert, fit, listed, name, score
from msgformer.commands.benchmark import benchmark
from msgformer.commands.train import train
from msgformer.config.parser import Options
from msgformer.errors import UserError


def parse(function, *argv):
    return Options(function).parse(argv, json="As JSON.")


def refusal(function, *argv) -> str:
    with pytest.raises(UserError) as error:
        parse(function, *argv)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "options.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_defaults_come_from_the_signature():
    values, flags = parse(fit)
    assert fit(**values) == fit()
    assert flags == []


def test_options_groups_and_flags():
    words = "--optim.lr 2 --epochs=7 --json --optim.name sgd --model_args.depth 3 --classes [a,b]"
    values, flags = parse(fit, *words.split())
    assert values["optim"] == Optim(lr=2.0, name="sgd")
    assert (values["epochs"], values["model_args"], values["classes"]) == (7, {"depth": 3}, ["a", "b"])
    assert flags == ["json"]


@pytest.mark.parametrize(
    "argv",
    [
        "run a b --top-k 3 --tta",
        "--tta run --top_k=3 a b",
        "--top-k 3 run a --tta true b",
        "--tta --top_k 3 -- run a b",
    ],
)
def test_positional_arguments_and_options_can_be_mixed(argv):
    values, _ = parse(name, *argv.split())
    assert values == dict(checkpoint=Path("run"), images=[Path("a"), Path("b")], top_k=3, tta=True)


@pytest.mark.parametrize(("word", "tta"), [("true", True), ("false", False)])
def test_a_switch_takes_the_words_true_and_false_before_positional_arguments(word, tta):
    values, _ = parse(name, "--tta", word, "run", "a")
    assert (values["checkpoint"], values["images"], values["tta"]) == (Path("run"), [Path("a")], tta)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", {"names": [], "size": None}),
        ("a --size 3 b", {"names": ["a", "b"], "size": 3}),
        ("--size 3 4 5", {"names": ["5"], "size": (3, 4)}),
        ("--size [3,4] 5", {"names": ["5"], "size": (3, 4)}),
        ("--size=3 4", {"names": ["4"], "size": 3}),
    ],
)
def test_any_number_of_words_and_pairs_of_numbers(argv, expected):
    assert parse(listed, *argv.split())[0] == expected


def test_lists_of_numbers_and_choices_take_several_words():
    words = "a --img_size 32 48 --batch_size 1 8 64 --backend eager compile b --against c d --threads 2"
    values, _ = parse(benchmark, *words.split())
    assert (values["model"], values["against"], values["threads"]) == (["a", "b", "d"], "c", 2)
    assert (values["img_size"], values["batch_size"], values["backend"]) == ((32, 48), [1, 8, 64], ["eager", "compile"])
    assert parse(benchmark, "a", "--batch_size", "[1, 8]", "--against", "[b, c]")[0]["against"] == ["b", "c"]


def test_words_after_two_dashes_are_positional():
    assert parse(name, "run", "--", "-a")[0]["images"] == [Path("-a")]
    assert parse(score, "a", "--flip", "b")[0] == {"checkpoint": [Path("a"), Path("b")], "flip": True}


def test_a_negative_number_is_a_value():
    assert parse(fit, "--epochs", "-1")[0]["epochs"] == -1


@pytest.mark.parametrize(
    ("argv", "expected"), [("--compile", True), ("--compile true", True), ("--compile false", False), ("", False)]
)
def test_switches_need_no_value(argv, expected):
    assert parse(fit, *argv.split())[0]["compile"] is expected


@pytest.mark.parametrize(
    ("function", "argv", "message"),
    [
        (fit, "--epoch 3", "unknown option '--epoch'; did you mean '--epochs'?"),
        (fit, "--lr 3", "unknown option '--lr'; did you mean '--optim.lr'?"),
        (fit, "--optm.lr 3", "unknown option '--optm.lr'; did you mean '--optim.lr'?"),
        (fit, "--optim.lr.x 3", "unknown option '--optim.lr.x'; did you mean '--optim.lr'?"),
        (fit, "--optim x", "unknown option '--optim'; did you mean '--optim.lr'?"),
        (fit, "--conf x", "unknown option '--conf'; did you mean '--config'?"),
        (name, "run a --config x", "unknown option '--config'"),
        (fit, "-e 3", "unknown option '-e'"),
        (fit, "--epochs", "--epochs needs a value"),
        (fit, "--epochs --compile", "--epochs needs a value"),
        (fit, "--epochs x", "--epochs must be int, not 'x'"),
        (fit, "--compile maybe", "--compile must be true or false, not 'maybe'"),
        (fit, "--optim.clip x", "--optim.clip must be float or null, not 'x'"),
        (fit, "--optim.name sdg", "--optim.name must be one of adamw, sgd, not 'sdg'; did you mean 'sgd'?"),
        (fit, "--classes 3", "--classes must be list[str] or null, not '3'"),
        (fit, "tiny", "unexpected argument 'tiny'"),
        (convert, "a b c", "unexpected argument 'c'"),
        (name, "run", "the following arguments are required: images"),
    ],
)
def test_invalid_arguments_are_named(function, argv, message):
    assert refusal(function, *argv.split()).startswith(message)


@pytest.mark.parametrize("position", [0, 2])
def test_command_line_overrides_file_overrides_defaults(config, position):
    file = config("epochs: 9\noptim: {lr: 1e-2, clip: 1}\nmodel_args: {depth: 2}")
    argv = ["--epochs", "4", "--optim.lr", "3", "--model_args.width", "8"]
    argv[position:position] = ["--config", file]
    values, _ = parse(fit, *argv)
    assert (values["epochs"], values["model"]) == (4, "tiny")
    assert values["optim"] == Optim(lr=3, clip=1)
    assert values["model_args"] == {"depth": 2, "width": 8}


def test_explicit_arguments_override_the_file_in_python(config):
    file = config("epochs: 9\nmodel: small\noptim: {name: sgd}")
    given = fit("base", epochs=4, config=file).arguments
    assert (given["model"], given["epochs"]) == ("base", 4)
    assert given["optim"] == Optim(lr=0.5, name="sgd"), "the signature's own default is kept beside the file's"
    assert fit(config=file, optim=Optim(lr=2)).arguments["optim"] == Optim(lr=2), "a group is replaced whole"
    assert fit(config=file, optim={"lr": 2}).arguments["optim"] == Optim(lr=2, name="sgd"), "a mapping changes a part"
    assert fit(config=config("optim.lr: 2")).arguments["optim"] == Optim(lr=2), "dotted keys are keys too"
    assert fit(config=None) == fit()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown option 'epoch'; did you mean 'epochs'?"),
        ("optim: {lrr: 3}", "unknown option 'optim.lrr'; did you mean 'optim.lr'?"),
        ("lr: 3", "unknown option 'lr'; did you mean 'optim.lr'?"),
        ("optim: 3", "'optim' is a group of options (optim.lr, optim.name, optim.clip), not 3"),
        ("epochs: x", "epochs must be int, not 'x'"),
        ("optim: {name: sdg}", "optim.name must be one of adamw, sgd, not 'sdg'; did you mean 'sgd'?"),
        ("classes: [a, 1]", "classes must be list[str] or null, not \"['a', 1]\""),
        ("config: other.yaml", "unknown option 'config'"),
        ("json: true", "unknown option 'json'"),
    ],
)
def test_errors_in_a_file_name_the_file(config, text, message):
    file = config(text)
    assert refusal(fit, "--config", file) == f"{file}: {message}"
    with pytest.raises(UserError):
        fit(config=file)


def test_help_describes_every_argument(capsys):
    for function in (fit, name):
        with pytest.raises(SystemExit, match="0"):
            parse(function, "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: msgformer CHECKPOINT IMAGES [--option VALUE ...]" in text
    assert "checkpoint What to load, described in words that do not fit on a line." in text
    assert "--epochs EPOCHS How often. (default: 3)" in text
    assert "--optim.lr LR Learning rate. (default: 0.5)" in text
    assert "--json As JSON." in text
    assert "--optim CONFIG" not in text
    assert "(default: null)" not in text


def test_help_of_a_training_shows_the_options_and_defaults_of_its_task(capsys):
    texts = {}
    for task in ("classify", "detect"):
        with pytest.raises(SystemExit):
            Options(train, prog="msgformer train").parse(["--help", "--task", task])
        texts[task] = " ".join(capsys.readouterr().out.split())
    assert "defaults below are those of 'embedded/digits'" in texts["classify"]
    assert "Number of epochs. (default: 30)" in texts["classify"]
    assert "Images per batch and device. (default: 64)" in texts["classify"]
    assert "--augment.erasing" in texts["classify"]
    assert "--detect.head" not in texts["classify"]
    assert "defaults below are those of 'embedded/detect'" in texts["detect"]
    assert "--detect.head" in texts["detect"]
    assert "--augment.erasing" not in texts["detect"]
    assert "Examples:" in texts["detect"]


def test_help_shows_the_defaults_of_a_configuration(config, capsys):
    with pytest.raises(SystemExit):
        Options(train).parse(["--config", config("epochs: 7\noptim: {lr: 0.25}"), "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Number of epochs. (default: 7)" in text
    assert "(default: 0.25)" in text
