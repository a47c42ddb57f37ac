"""The command `embed`: files, unreadable images and refused outputs."""

import numpy as np
import pytest

import msgformer
from msgformer.cli import main as cli
from tasks.embedding.pooled import pooled_features
from tasks.tiny_runs import run_of_each_task

CPU = ("--device", "cpu", "--workers", "0", "--progress", "none")
run = run_of_each_task


@pytest.fixture(scope="module")
def expected(model, run):
    return pooled_features(model, run.images)


def test_numpy_file(run, tmp_path, capsys, expected):
    output = tmp_path / "features.npy"
    assert cli.main(["embed", str(run.folder), *map(str, run.images), "--output", str(output), *CPU]) == 0
    np.testing.assert_allclose(np.load(output), expected, atol=1e-4)
    assert (tmp_path / "features.txt").read_text().splitlines() == list(map(str, run.images))
    assert f"3 images with {expected.shape[1]} features each in {output}" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 2


def test_parquet_file(run, tmp_path, expected):
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "features.parquet"
    result = msgformer.embed(run.folder, run.images, output=output, device="cpu", progress="none")
    assert (result.output, result.names, result.images, result.features) == (output, None, 3, expected.shape[1])
    rows = parquet.read_table(output).to_pylist()
    assert [row["image"] for row in rows] == list(map(str, run.images))
    np.testing.assert_allclose([row["embedding"] for row in rows], expected, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_unreadable_images(run, tmp_path, capsys, expected):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    output = tmp_path / "features.npy"
    given = [
        "embed",
        str(run.folder),
        str(run.images[0]),
        str(broken),
        str(run.images[2]),
        "--output",
        str(output),
        *CPU,
    ]
    assert cli.main(given) == 2
    assert "broken.png" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]
    assert cli.main([*given, "--on_bad_image", "skip"]) == 0
    assert "left out 1 image(s), which can't be read" in capsys.readouterr().err
    np.testing.assert_allclose(np.load(output), expected[[0, 2]], atol=1e-4)
    assert (tmp_path / "features.txt").read_text().splitlines() == [str(run.images[0]), str(run.images[2])]
    given = [broken, broken]
    result = msgformer.embed(
        run.folder, given, output=tmp_path / "none.npy", on_bad_image="skip", batch_size=2, progress="none"
    )
    assert (result.images, result.skipped) == (0, [str(broken)] * 2)
    assert np.load(tmp_path / "none.npy").shape[0] == 0


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_existing_files_are_only_overwritten_on_request(runs, tmp_path, suffix):
    pytest.importorskip("pyarrow")
    run, output = runs("classify"), tmp_path / f"features.{suffix}"
    options = {"device": "cpu", "progress": "none", "output": output}
    for name in {output.name, "features.txt"} if suffix == "npy" else {output.name}:
        (tmp_path / name).write_text("before")
        with pytest.raises(
            msgformer.UserError, match=rf"^output: .*{name} exists; pass --overwrite or another --output"
        ):
            msgformer.embed(run.folder, run.images[0], **options)
        assert (tmp_path / name).read_text() == "before"
        (tmp_path / name).unlink()
    msgformer.embed(run.folder, run.images, **options)
    before = output.read_bytes()
    msgformer.embed(run.folder, run.images[:1], overwrite=True, **options)
    assert output.read_bytes() != before
    with pytest.raises(msgformer.UserError, match=r"missing\.png"):
        msgformer.embed(run.folder, [run.images[0], tmp_path / "missing.png"], overwrite=True, **options)
    if suffix == "npy":
        assert np.load(output).shape[0] == 1


@pytest.mark.parametrize("name", ["features.csv", "features", "missing/features.npy"])
def test_invalid_outputs_are_refused(runs, tmp_path, name):
    run = runs("classify")
    with pytest.raises(msgformer.UserError, match=r"^output: "):
        msgformer.embed(run.folder, run.images, output=tmp_path / name, device="cpu", progress="none")
