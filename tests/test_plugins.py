"""Plug-ins in a real module file, through the command line in fresh processes, and as entry points."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from commands.tiny_dense import BACKBONE, tiny_dense_run, write_scenes
from commands.trained import CLASSES, MODEL_ARGS, make_images
from msgformer import plugins
from msgformer.checkpoints.card import ModelCard
from msgformer.checkpoints.checkpoint_file import read_training_checkpoint
from msgformer.cli.main import main
from msgformer.errors import UserError
from msgformer.models import create_model, plugins_of
from msgformer.tasks.opened_model import load_model

MODULE = """
from msgformer.models import GridExchange, MsgTransformer, register_exchange, register_messengers
from msgformer.models.window import to_windows

print("importing the plug-in")


@register_exchange("{name}_everywhere")
class Everywhere(GridExchange):
    def exchange(self, messengers):
        return messengers + messengers.mean(dim=(1, 2), keepdim=True)


@register_messengers("{name}_mean")
class MeanMessengers(MsgTransformer):
    def first_messengers(self, patches):
        return to_windows(patches, self.window_size).mean(dim=1)
"""

SEVERAL = """
import contextlib, io, json, os, sys
import torch
from msgformer.cli.main import main

torch.set_num_threads(1)
torch.zeros(1, requires_grad=True).sum().backward()  # autograd's threads would not survive a fork
commands, plugins = json.loads(sys.argv[1]), sys.argv[2:]


def outputs_of(words):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(words)
    return status, out.getvalue(), err.getvalue()


without = {name: outputs_of(words) for name, words in commands.items()}
outputs = {}
for name, words in commands.items():
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, json.dumps(outputs_of([*words, *plugins])).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        outputs[name] = json.loads(pipe.read())
    os.wait()
print(json.dumps([without, outputs]))
"""
"""Runs commands, and then each again with plug-ins in a forked process; prints all results."""


def write_module(folder: Path, name: str, text: str = MODULE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(text.replace("{name}", name), encoding="utf-8")
    return path


def install(site: Path, name: str, module: str) -> None:
    """Write a distribution that declares a plug-in to a folder on ``sys.path``."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[msgformer.plugins]\n{name} = {module}\n")


def run(folder: Path, *words: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "msgformer", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=240)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error line of a command."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1].removeprefix("msgformer: error: ")


def write_config(folder: Path, name: str, **settings) -> Path:
    values = {
        "model": "msg_transformer_tiny",
        "data": str(folder / "data"),
        "epochs": 1,
        "img_size": 16,
        "batch_size": 8,
        "workers": 0,
        "model_args": {**MODEL_ARGS, "exchange": f"{name}_everywhere", "messengers": f"{name}_mean"},
        "optim": {"warmup_epochs": 0},
        "trainer": {"accelerator": "cpu", "progress": "none"},
        "report": False,
        **settings,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture
def fresh(monkeypatch):
    """Forget the imported plug-ins after the test."""
    monkeypatch.setattr(plugins, "_loaded", [])
    monkeypatch.setattr(plugins, "_searched", set())
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Create a folder with data, a plug-in in its own folder, and a run trained with the plug-in."""
    folder = tmp_path_factory.mktemp("place")
    make_images(folder / "data", per_class=5)
    path = write_module(folder / "code", "plugin_file")
    config = write_config(folder, "plugin_file")
    done = run(folder, "train", "--config", config, "--output", "run", "--plugins", "code/plugin_file.py", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 1, "what the plug-in prints isn't part of the result"
    assert path.is_file()
    return folder


def test_a_run_records_its_plugin(place):
    path = str(place / "code/plugin_file.py")
    text = (place / "run/config.yaml").read_text()
    assert yaml.safe_load(text)["plugins"] == [path]
    assert text.startswith(f"# Repeats this run: msgformer train --config config.yaml --plugins {path}\n")
    assert ModelCard.read(read_training_checkpoint(place / "run/best.ckpt"), place).plugins == [path]


COMMANDS = {
    "predict": ["predict", "run", "data/dark/00.png"],
    "evaluate": ["evaluate", "run", "--workers", "0", "--progress", "none"],
    "export": ["export", "run", "--output", "out.pt2", "--format", "torch-export"],
    "explain": ["explain", "run", "data/dark/00.png", "--output", "explained"],
    "benchmark": ["benchmark", "run", "--batch_size", "1", "--rounds", "1", "--progress", "none"],
    "average": ["average", "run", "run/last.ckpt", "--greedy", "--output", "mean.ckpt", "--workers", "0"],
    "report": ["report", "run", "--workers", "0", "--progress", "none"],
    "resume": ["train", "--resume", "run"],
    "repeat": ["train", "--config", "run/config.yaml", "--output", "again"],
}


@pytest.fixture(scope="module")
def outputs(place) -> list[dict[str, tuple[int, str, str]]]:
    """Return exit status, standard output and standard error by command, without and with the plug-in."""
    asked = ["--plugins", "code/plugin_file.py", "--json"]
    command = [sys.executable, "-c", SEVERAL, json.dumps(COMMANDS), *asked]
    done = subprocess.run(command, cwd=place, timeout=290, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_opens_the_run_with_the_plugin_and_names_it_without(place, outputs, command):
    path = place / "code/plugin_file.py"
    status, out, err = outputs[0][command]
    assert (status, out, err.count("error")) == (2, "", 1)
    assert (
        f"needs the plug-in {path}, which is not run automatically; add --plugins {path} (in Python, import the" in err
    )
    status, out, err = outputs[1][command]
    assert status == 0, err
    assert json.loads(out)


@pytest.fixture
def refused(place, monkeypatch, capsys, fresh) -> Callable[..., str]:
    """Run a command in this process that must fail with one line, because a plug-in is missing."""

    def run(*words: str) -> str:
        monkeypatch.chdir(place)
        assert main([*words]) == 2
        return capsys.readouterr().err

    return run


def test_a_plugin_may_have_moved(tmp_path, fresh):
    write_module(tmp_path / "plugin_package", "plugin_moved")
    recorded = str(tmp_path / "old/plugin_moved.py")
    with pytest.raises(
        UserError, match=r"run needs the plug-in .*old/plugin_moved\.py, which is not run automatically"
    ):
        plugins.require_plugins([recorded], "run")
    sys.path.append(str(tmp_path))
    plugins.load_plugins("plugin_package.plugin_moved")
    plugins.require_plugins([recorded], "run")
    plugins.load_plugins(tmp_path / "plugin_package/plugin_moved.py")
    plugins.require_plugins(["plugin_moved"], "run")


@pytest.mark.slow
def test_a_module_is_found_in_the_current_folder_and_may_come_with_others(place, refused):
    write_module(place, "plugin_module")
    write_module(place, "plugin_empty", "")
    config = write_config(place, "plugin_module")
    words = ["train", "--config", config, "--output", "module", "--plugins", "[plugin_module, plugin_empty]"]
    done = run(place, *words)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((place / "module/config.yaml").read_text())["plugins"] == ["plugin_module", "plugin_empty"]
    line = refused("predict", "module", "data/dark/00.png")
    assert "needs plug-ins, which is not run automatically; add --plugins plugin_module --plugins plugin_empty" in line
    line = refused("predict", "module", "data/dark/00.png", "--plugins", "plugin_empty")
    assert "needs the plug-in plugin_module, which is not run automatically" in line


def test_python_needs_only_an_import(place, refused):
    write_module(place, "plugin_import")
    config = write_config(place, "plugin_import")
    (place / "own.py").write_text(
        "import sys, plugin_import, msgformer\n"
        f"run = msgformer.train(config={str(config)!r}, output='imported').run\n"
        "print(msgformer.predict(run, ['data/dark/00.png']).predictions[0].image, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "own.py"], capture_output=True, text=True, cwd=place, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "00.png" in done.stderr
    assert yaml.safe_load((place / "imported/config.yaml").read_text())["plugins"] == ["plugin_import"]
    assert "--plugins plugin_import" in refused("predict", "imported", "data/dark/00.png")


@pytest.mark.slow
def test_a_program_that_registers_a_model_is_a_plugin(place, refused):
    config = write_config(place, "plugin_script")
    text = MODULE.replace("{name}", "plugin_script") + (
        "\nif __name__ == '__main__':\n    import msgformer\n"
        f"    msgformer.train(config={str(config)!r}, output='scripted')\n"
    )
    script = write_module(place, "plugin_script", text)
    subprocess.run([sys.executable, script], cwd=place, timeout=240, check=True)
    assert f"--plugins {script} " in refused("predict", "scripted", "data/dark/00.png")
    plugins.load_plugins(str(script))
    assert main(["predict", "scripted", "data/dark/00.png"]) == 0


@pytest.mark.parametrize(
    ("plugin", "text", "message"),
    [
        (
            "plugin_gone",
            None,
            "plugin_gone can't be imported: ModuleNotFoundError: No module named '.*'; give a",
        ),
        ("./plugin_gone.py", None, r"no such file: .*plugin_gone\.py; give a \.py file or the dotted name of a module"),
        ("plugin_bad.py", "1 / 0", r"plugin_bad\.py can't be imported: ZeroDivisionError: .*plugin_bad\.py, line 1\)$"),
        ("plugin_bad", "def", r"plugin_bad can't be imported: SyntaxError: .*plugin_bad\.py, line 1\)$"),
        ("plugin_bad", "import nothing", "ModuleNotFoundError: No module named 'nothing' .*, line 1\\)$"),
        ("plugin_bad", "import sys; sys.exit(3)", "plugin_bad can't be imported: SystemExit: 3 "),
        ("json.py", "", r"json\.py has the name of another module, 'json' \(.*json/__init__\.py\); rename it"),
        ("timm.py", "", r"timm\.py has the name of another module, 'timm' \(.*timm/__init__\.py\); rename it"),
        ("a.b.py", "", r"the name of .*a\.b\.py has a dot before \.py, which no module can have; rename it"),
        ("", None, "plugins must be names of modules or paths of .py files, not ''"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_refused(tmp_path, monkeypatch, fresh, plugin, text, message):
    if text is not None:
        (tmp_path / f"{plugin.removesuffix('.py')}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    before = [*sys.path]
    with pytest.raises(UserError, match=message) as error:
        plugins.load_plugins(plugin)
    assert "\n" not in str(error.value)
    assert (sys.path, plugins.loaded_plugins()) == (before, [])


def test_an_error_of_a_plugin_is_one_line_of_the_command_line(tmp_path):
    write_module(tmp_path, "plugin_bad", "raise ValueError('two\\nlines')")
    line = refusal(run(tmp_path, "models", "--plugins", "plugin_bad"))
    assert line.startswith("plugins: plugin_bad can't be imported: ValueError: two lines (")


def test_help_and_settings_import_no_plugin(tmp_path, run_light):
    write_module(tmp_path, "plugin_loud", "raise ValueError('imported')")
    done = run_light("predict", "--help", "--plugins", "plugin_loud")
    assert (done.returncode, "--plugins MODULE" in done.stdout) == (0, True)
    done = run_light("train", "--print_config", "--plugins", "plugin_loud")
    assert (done.returncode, yaml.safe_load(done.stdout)["plugins"]) == (0, ["plugin_loud"])


def test_a_given_plugin_overrides_its_recorded_path(tmp_path):
    given, recorded = str(tmp_path / "new/plug.py"), str(tmp_path / "old/plug.py")
    assert plugins.merge_plugins([given], [recorded, "a.b"]) == [given, "a.b"]


def test_a_model_records_its_plugins(tmp_path, fresh):
    path = write_module(tmp_path, "plugin_told")
    assert plugins_of({"exchange": "shuffle", "messengers": "learned", "attention": "hybrid"}) == []
    assert plugins.load_plugins([path, str(path)]) == [str(path)]
    assert plugins_of({"exchange": "plugin_told_everywhere", "messengers": "plugin_told_mean"}) == [str(path)]
    assert plugins_of({"exchange": "unknown", "depths": [1]}) == []


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_detectors_and_segmenters_record_the_plugin_of_their_backbone(tmp_path, fresh, monkeypatch, task):
    name = f"plugin_{task}"
    path = write_module(tmp_path, name)
    data = write_scenes(task, tmp_path / "data", 2, 1)
    model_args = {**BACKBONE, "exchange": f"{name}_everywhere"}
    settings = {"epochs": 1, "report": False, "model_args": model_args}
    result = tiny_dense_run(task, data, tmp_path / "run", plugins=str(path), **settings)
    assert load_model(result.checkpoint)[1].plugins == [str(path)]
    monkeypatch.setattr(plugins, "_loaded", [])
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=rf"needs the plug-in {path}, which is not run automatically"):
        load_model(result.checkpoint)


def test_an_old_card_has_no_plugins(tmp_path):
    old = {"model": "a", "model_args": {}, "classes": [], "preprocessing": {}, "data": {}, "task": "classify"}
    assert ModelCard.read({"msgformer": {**old, "version": "0.1"}}, tmp_path).plugins == []


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("raise ValueError('no luck')", "ValueError: no luck ("), ("import sys; sys.exit(3)", "SystemExit: 3 (")],
)
def test_plugins_of_installed_distributions_are_loaded(tmp_path, fresh, capfd, ending, reason):
    site = tmp_path / "site"
    write_module(site, "plugin_installed")
    install(site, "good", "plugin_installed")
    write_module(site, "plugin_broken", ending)
    install(site, "bad", "plugin_broken")
    sys.path.append(str(site))
    for _ in range(2):
        create_model("msg_transformer_tiny", **MODEL_ARGS, exchange="plugin_installed_everywhere", num_classes=2)
    warning = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warning) == 1, "once per process"
    assert f"plug-in 'bad' of bad (plugin_broken) can't be loaded and is skipped: {reason}" in warning[0]


def test_an_installed_plugin_works_from_the_command_line_and_is_named_where_it_is_missing(place, refused):
    site = place / "site"
    write_module(site, "plugin_dist")
    install(site, "dist", "plugin_dist")
    config = write_config(place, "plugin_dist")
    listing = run(place, "recipes", path=site)
    assert (listing.returncode, listing.stderr) == (0, ""), "a listing needs no model"
    done = run(place, "train", "--config", config, "--output", "dist", path=site)
    assert done.returncode == 0, done.stderr
    assert "importing the plug-in" in done.stderr
    assert "--plugins plugin_dist" in refused("predict", "dist", "data/dark/00.png")


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_spawned_workers_and_processes_load_the_plugin(place, start_method):
    words = ["train", "--config", place / "plugin_file.yaml", "--output", place / start_method]
    words += ["--plugins", place / "code/plugin_file.py", "--workers", "1", "--trainer.start_method", start_method]
    assert (done := run(place, *words)).returncode == 0, done.stderr


@pytest.mark.slow
def test_all_processes_of_a_training_load_the_plugin(place):
    words = ["train", "--config", place / "plugin_file.yaml", "--output", place / "ddp", "--batch_size", "4"]
    words += ["--plugins", "code/plugin_file.py", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    assert (done := run(place, *words)).returncode == 0, done.stderr
    assert len(CLASSES) == len(ModelCard.read(read_training_checkpoint(place / "ddp/best.ckpt"), place).classes)
