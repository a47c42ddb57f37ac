"""Options of a training in Python, on the command line and in a printed configuration."""

import pytest
import yaml

from msgformer.cli.main import main
from msgformer.commands.train import train
from msgformer.config.parser import Options
from msgformer.config.recipes import list_recipes
from msgformer.errors import UserError
from msgformer.runs import fit as fitting
from msgformer.runs.train_settings import TrainSettings


@pytest.fixture
def settings(monkeypatch):
    """Record the settings of all trainings, which stop before they start."""
    begun = []

    def begin(settings, *_):
        begun.append(settings)
        raise UserError("not trained in this test")

    monkeypatch.setattr(fitting, "fit", begin)
    return begun


@pytest.fixture
def config(tmp_path):
    values = {
        "model": "msg_transformer_tiny",
        "epochs": 8,
        "model_args": {"depths": [1, 1], "embed_dim": 16, "nested": {"a": 1, "b": 2}},
        "optim.weight_decay": 0.5,
        "optim": {"lr": 0.5, "warmup_epochs": 1, "optimizer_args": {"nesterov": True}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def printed(*words: str) -> str:
    options = Options(train)
    assert options.show is not None
    return options.show(**options.parse(words)[0])


CASES = [
    ("", {}),
    ("--epochs 3", {"epochs": 3}),
    ("--model_args.depths [2,2]", {"model_args": {"depths": [2, 2]}}),
    ("--model_args.drop_rate 0.5 --model_args.in_chans 3", {"model_args": {"drop_rate": 0.5, "in_chans": 3}}),
    ("--model_args.exchange none", {"model_args": {"exchange": "none"}}),
    ("--model_args.nested {b:\\ 9}", {"model_args": {"nested": {"b": 9}}}),
    (
        "--model sgformer_small --model_args.drop_rate 0.5",
        {"model": "sgformer_small", "model_args": {"drop_rate": 0.5}},
    ),
    ("--model msg_transformer_tiny --model_args.a 1", {"model": "msg_transformer_tiny", "model_args": {"a": 1}}),
    ("--optim.lr 2", {"optim": {"lr": 2.0}}),
    ("--optim.optimizer_args.foreach true", {"optim": {"optimizer_args": {"foreach": True}}}),
    ("--optim.warmup_epochs 1 --epochs 2", {"optim": {"warmup_epochs": 1.0}, "epochs": 2}),
    ("--trainer.logger [tensorboard] --report false", {"trainer": {"logger": ["tensorboard"]}, "report": False}),
    ("--img_size 32 48", {"img_size": (32, 48)}),
    ("--augment.mixup 0.5 --distill.alpha 0.5", {"augment": {"mixup": 0.5}, "distill": {"alpha": 0.5}}),
    ("--plugins json", {"plugins": ["json"]}),
]


@pytest.mark.parametrize("base", ["default", "file", "imagenet/msg_transformer_tiny"])
@pytest.mark.parametrize(("words", "arguments"), CASES, ids=[words for words, _ in CASES])
def test_python_and_the_command_line_resolve_to_the_same(settings, config, base, words, arguments):
    named = {} if base == "default" else {"config": config if base == "file" else base}
    line = [word.replace("\0", " ") for word in words.replace("\\ ", "\0").split()]
    line += [f"--{key}={value}" for key, value in named.items()]
    assert main(["train", *line]) == 2
    with pytest.raises(UserError, match="not trained"):
        train(**named, **arguments)
    assert len(settings) == 2
    assert settings[0].to_dict() == settings[1].to_dict()


def test_mappings_change_what_they_name(settings, config):
    given = {"embed_dim": (3,), "text": "3"}
    with pytest.raises(UserError, match="not trained"):
        train(config=config, model_args=given, optim={"optimizer_args": {"eps": "3"}})
    assert settings[0].model_args == {"depths": [1, 1], "nested": {"a": 1, "b": 2}, "embed_dim": (3,), "text": "3"}
    assert settings[0].optim.optimizer_args == {"nesterov": True, "eps": "3"}, "values are left as they are"
    assert (settings[0].optim.lr, settings[0].optim.weight_decay) == (0.5, 0.5)
    assert given == {"embed_dim": (3,), "text": "3"}


def test_none_replaces_the_arguments_of_a_model(settings, config):
    with pytest.raises(UserError, match="not trained"):
        train(config=config, model_args=None)
    assert settings[0].model_args == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_args": 3}, r"model_args must be a mapping, such as \{'name': value\}, not 3"),
        ({"optim": 3}, "optim must be OptimOptions or a mapping of its options, not 3"),
        ({"optim": {"lrr": 3}}, "^unknown option 'optim.lrr'; did you mean 'optim.lr'"),
        ({"optim": {"lr": "x"}}, "^optim.lr must be float, not 'x'"),
        ({"plugins": 3}, r"plugins must be names of modules or paths of \.py files, not 3"),
        ({"plugins": [3]}, r"plugins must be names of modules or paths of \.py files, not 3"),
    ],
)
def test_wrong_arguments_in_python_are_named(settings, config, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        train(config=config, **arguments)
    assert "\n" not in str(error.value)
    assert settings == []


@pytest.mark.parametrize("recipe", [name for name in list_recipes() if name != "examples/elpv"])
def test_a_printed_configuration_gives_the_same_run(tmp_path, recipe):
    text = printed("--config", recipe, "--seed", "5")
    path = tmp_path / "printed.yaml"
    path.write_text(text, encoding="utf-8")
    values = Options(train).parse(["--config", str(path)])[0]
    assert TrainSettings.of(values).checked().to_dict() == yaml.safe_load(text)
    assert TrainSettings.of(values).seed == 5
    assert printed("--config", str(path)) == text


def test_a_printed_configuration_has_the_run_folder(tmp_path, monkeypatch, capsys, image_folder):
    monkeypatch.chdir(tmp_path)
    image_folder("images")
    words = ["--data", "images", "--output", "out", "--plugins", "./own.py", "--print_config"]
    assert main(["train", *words]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert values["plugins"] == [str(tmp_path / "own.py")]
    assert (values["data"], values["output"]) == (str(tmp_path / "images"), str(tmp_path / "out"))
    assert "resume" not in values


def test_print_config_starts_nothing(tmp_path, run_light):
    for task in ("classify", "detect", "segment"):
        done = run_light("train", "--task", task, "--print-config", "--output", "run")
        assert (done.returncode, done.stderr) == (0, "")
        assert yaml.safe_load(done.stdout)["task"] == task
    assert [*tmp_path.iterdir()] == []
    done = run_light("train", "--print_config", "--optim.warmup_epochs", "500")
    assert (done.returncode, done.stdout) == (2, "")
    assert run_light("predict", "a", "b", "--print_config").returncode == 2


def test_recipes_are_printed_with_what_they_extend(tmp_path, run_light):
    done = run_light("recipes", "ablations/table7_4421")
    values = yaml.safe_load(done.stdout)
    assert done.stdout.startswith("# MSG-Transformer, Table 7")
    assert (values["model_args"]["shuffle_sizes"], values["epochs"]) == ([4, 4, 2, 1], 300)
    (tmp_path / "own.yaml").write_text("extends: embedded/digits\nepochs: 2\n")
    done = run_light("recipes", "own.yaml", "embedded/digits")
    first, second = yaml.safe_load_all(done.stdout)
    assert first == {**second, "epochs": 2}
    done = run_light("recipes", "embeded/digits")
    assert (done.returncode, "did you mean 'embedded/digits'?" in done.stderr) == (2, True)
