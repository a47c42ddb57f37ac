"""The scripts in benchmarks/ contain valid commands and model names."""

import copy
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from msgformer.commands.benchmark import benchmark
from msgformer.commands.export import export
from msgformer.commands.sample_data import sample_data
from msgformer.commands.train import train
from msgformer.config.parser import Options
from msgformer.models import create_model

ROOT = Path(__file__).parents[1]
NUMBER = {"gpu.sh": 24, "cpu.sh": 9, "front.sh": 1}
COMMANDS = {"benchmark": benchmark, "export": export, "sample-data": sample_data}

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def run_script(name: str, folder: Path, **environment: str) -> str:
    command = ["bash", str(ROOT / "benchmarks" / name), str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", NUMBER)
def test_commands_of_the_scripts_are_valid(name, tmp_path):
    from msgformer.training.build import known_model

    printed = run_script(name, tmp_path, MSGFORMER="echo", PYTHON="true")
    commands = [shlex.split(line) for line in printed.splitlines()]
    written, measured = set(), 0
    for command, *arguments in commands:
        values, _ = Options(COMMANDS[command]).parse(arguments)
        models = values["model"] if command == "benchmark" else []
        for model in (*models, values.get("against", "msg_transformer_tiny")):
            assert Path(model) in written or known_model(model)
        assert values["output"] not in written
        written.add(values["output"])
        measured += command == "benchmark"
    assert measured == NUMBER[name]
    assert all(tmp_path in path.parents for path in written)


def test_existing_measurements_are_not_repeated(tmp_path):
    folder = tmp_path / "gpu" / "infer-bf16-tiny"
    folder.mkdir(parents=True)
    (folder / "benchmark.json").touch()
    both = {"MSGFORMER": "echo", "PYTHON": "echo"}
    # One is left out, and the kernel alone comes on top.
    assert len(run_script("gpu.sh", tmp_path, **both).splitlines()) == NUMBER["gpu.sh"]
    (tmp_path / "gpu" / "window_attention.json").touch()
    assert len(run_script("gpu.sh", tmp_path, **both).splitlines()) == NUMBER["gpu.sh"] - 1


def test_all_backbones_use_one_recipe(tmp_path):
    from msgformer.heads import create_detector, create_segmenter

    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "detect-swin.json").touch()  # done before
    commands = [shlex.split(line) for line in run_script("scenes.sh", tmp_path, MSGFORMER="echo").splitlines()]
    learned = set()
    for command, *arguments in commands:
        assert command == "train"
        values, _ = Options(train).parse(arguments, json="")
        make = {"detect": create_detector, "segment": create_segmenter}[values["task"]]
        make(values.get("model") or "msg_transformer_tiny", num_classes=2, **(values.get("model_args") or {}))
        learned.add(values["output"].name)
    names = ("msg_transformer", "sgformer", "swin", "resnet18")
    assert learned == {f"{task}-{name}" for task in ("detect", "segment") for name in names} - {"detect-swin"}


def write_checkout(folder: Path) -> None:
    """Write a fake checkout of the released code."""
    for path, function, model in (
        ("msg/models/msg_transformer.py", "MSGTransformer", "msg_transformer_tiny"),
        ("sg/sgformer.py", "sgformer_s", "sgformer_small"),
    ):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(
            f"from msgformer import create_model\ndef {function}(**_): return create_model({model!r})\n"
        )


@pytest.mark.slow
def test_the_released_code_is_timed_beside_these_models(tmp_path):
    write_checkout(tmp_path)
    options = ["--backend", "eager", "--rounds", "2", "--output", str(tmp_path / "new" / "released.json")]
    command = [sys.executable, str(ROOT / "benchmarks" / "released.py"), str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    stored = json.loads((tmp_path / "new" / "released.json").read_text(encoding="utf-8"))
    names = [
        f"{model}, {code}" for model in ("msg_transformer_tiny", "sgformer_small") for code in ("released", "eager")
    ]
    assert [*stored["seconds"]] == ["swin_tiny_patch4_window7_224", *names]
    assert all(len(seconds) == 2 for seconds in stored["seconds"].values())
    printed = {line.split("  ")[0]: line.split()[-3:] for line in done.stdout.splitlines()}
    assert [printed[name][place] for place, name in enumerate(names[::2])] == ["1.000", "1.000"]


def test_released_code_with_other_outputs_is_refused(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import released

    model = create_model("msg_transformer_tiny", img_size=32, depths=(1, 1, 1, 1)).eval()
    images, other = torch.randn(1, 3, 32, 32), copy.deepcopy(model)
    released.check_equal("MSG-T", model, other, images)
    assert "differ from the released code's by at most 0.0e+00" in capsys.readouterr().out
    torch.nn.init.ones_(other.get_classifier().bias)
    with pytest.raises(SystemExit, match="MSG-T does not match the released code"):
        released.check_equal("MSG-T", model, other, images)


@pytest.mark.slow
def test_the_gpu_script_runs_on_a_cpu_at_small_size(tmp_path):
    commands = {"MSGFORMER": f"{sys.executable} -m msgformer", "PYTHON": sys.executable}
    run_script("gpu.sh", tmp_path, MSGFORMER_TRY="1", **commands)
    assert (tmp_path / "gpu" / "infer-bf16-tiny-plain" / "benchmark.json").exists()
    alone = json.loads((tmp_path / "gpu" / "window_attention.json").read_text(encoding="utf-8"))
    assert [row["precision"] for row in alone["rows"]] == ["bf16", "tf32"]
    for mode, backends in (("infer", ["eager", "optimized"]), ("train", ["eager"])):
        stored = json.loads((tmp_path / "gpu" / f"{mode}-bf16-tiny" / "benchmark.json").read_text(encoding="utf-8"))
        assert stored["reference"] == "test_convnext (eager)"
        assert {one["model"] for one in stored["timings"]} == {"test_resnet", "test_convnext"}
        assert sorted({one["backend"] for one in stored["timings"]}) == backends
