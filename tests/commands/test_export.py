import importlib.util
import os

import pytest

from commands.trained import CPU, make_images, make_run
from msgformer.commands.evaluate import evaluate
from msgformer.commands.export import export
from msgformer.commands.predict import predict
from msgformer.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return make_run(make_images(folder / "data"), folder / "run")


@pytest.fixture(scope="module")
def exported(run):
    return export(run, format="torch-export", dynamic_batch=True)


def test_the_file_is_beside_its_checkpoint_and_checked_on_held_out_images(run, exported):
    assert exported.output == run / "best.pt2"
    assert exported.input == {"batch": (1, 1024), "height": (16, 16), "width": (16, 16)}
    assert exported.checked_on == "7 inputs of images that the run held out"  # six together, one alone
    assert exported.max_difference < 1e-5
    assert "msg_transformer_tiny, torch-export, float32; batch 1..1024, height 16" in exported.table()
    assert {path.name for path in run.iterdir()} >= {"best.ckpt", "best.pt2"}


def test_an_exported_file_predicts_and_scores_like_its_checkpoint(run, exported, tmp_path):
    images = [run.parent / "data" / "dark", run.parent / "data" / "light" / "03.png"]
    ours, theirs = (predict(path, images, **CPU).predictions for path in (exported.output, run))
    assert [one.classes for one in ours] == [one.classes for one in theirs]
    assert ours[0].probabilities == pytest.approx(theirs[0].probabilities, abs=1e-5)
    scores = evaluate([exported.output, run], **CPU).results
    assert scores[0].top1 == scores[1].top1
    assert scores[0].loss == pytest.approx(scores[1].loss, abs=1e-5)
    moved = tmp_path / "model.pt2"
    moved.write_bytes(exported.output.read_bytes())
    with pytest.raises(UserError, match=r"model\.pt2 isn't in the folder of its run; give --data FOLDER"):
        evaluate(moved, **CPU)
    assert evaluate(moved, run.parent / "data", **CPU).images == 30


def test_unsupported_uses_of_a_file_are_refused_in_one_line(run, exported):
    for arguments, message in (
        ({"img_size": 24}, r"takes images of 16 x 16 pixels, not of 24 x 24; export it with --dynamic_size"),
        ({"precision": "bf16-mixed"}, r"precision: .* has the precision of its export"),
        (
            {"device": "gpu"},
            r"device: there is no cuda device|device: .* was exported for the CPU",
        ),
        ({"backend": "mindspore"}, "MindSpore"),
    ):
        with pytest.raises(UserError, match=message):
            predict(exported.output, [run.parent / "data"], **{**CPU, **arguments})


def test_bad_arguments_are_reported_before_anything_is_loaded(run, tmp_path, monkeypatch):
    for arguments, message in (
        ({"output": tmp_path / "model.onnx", "format": "aoti"}, r"has to end with \.pt2 for format aoti"),
        ({"output": tmp_path / "no" / "model.pt2", "format": "aoti"}, r"there is no folder .*no; create it first"),
        ({"int8": True, "format": "torch-export"}, r"int8: not for format torch-export"),
        ({"calibration": tmp_path, "format": "aoti"}, r"calibration is for --int8"),
        ({"batch_size": 0}, r"batch_size must be at least 1"),
        ({"img_size": 0}, r"img_size must be at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            export(run, **arguments)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs the package 'openvino'; .*uv sync --extra openvino"):
        export(run, format="openvino")
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"model\.onnx needs the package 'onnx'; install it with: uv sync --extra onnx"):
        predict(tmp_path / "model.onnx", [run.parent / "data"], **CPU)


def test_executorch_supports_one_size(run):
    pytest.importorskip("executorch")
    with pytest.raises(UserError, match="format executorch: a file takes inputs of one size; leave out --dynamic"):
        export(run, format="executorch", dynamic_batch=True)


def test_names_have_random_weights_and_photographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = export("test_vit", format="torch-export", img_size=160)
    assert result.output.name == "test_vit.pt2"
    assert "photographs" in result.checked_on
    with pytest.raises(UserError, match="unknown model 'sgformer_smal'; did you mean"):
        export("sgformer_smal", format="torch-export")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(run, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"can't be written: Permission denied"):
        export(run, format="torch-export", output=tmp_path / "model.pt2")
