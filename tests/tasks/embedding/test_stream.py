"""Pooled features: the method, the command and its files."""

import numpy as np
import pytest
import torch
from PIL import Image

import msgformer
from msgformer.cli import main as cli
from msgformer.tasks.embedding.file import open_embedding_file
from tasks.tiny_runs import TASK_NAMES, make_tiny_run

CPU = ("--device", "cpu", "--workers", "0", "--progress", "none")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def get(task):
        if task not in made:
            made[task] = make_tiny_run(task, folder)
        return made[task]

    return get


@pytest.fixture(scope="module", params=TASK_NAMES)
def run(request, runs):
    return runs(request.param)


@pytest.fixture(scope="module")
def model(run):
    return msgformer.load(run.folder, device="cpu")


@torch.inference_mode()
def pooled(model, path):
    """Compute the features of an image by the unoptimized module."""
    image = model.preprocess(Image.open(path).convert("RGB"))[None]
    module = model.module
    if isinstance(model, msgformer.Classifier):
        return module.forward_head(module.forward_features(image), pre_logits=True)[0].numpy()
    if isinstance(model, msgformer.Detector):
        batch, _ = module.transform(list(image))
        height, width = batch.image_sizes[0]
        maps = list(module.backbone.body(batch.tensors))
    else:
        height, width = image.shape[-2:]
        maps = list(module.backbone(torch.nn.functional.pad(image, (0, -width % 32, 0, -height % 32))))
    return maps[-1][0, :, : -(-height // 32), : -(-width // 32)].mean((1, 2)).numpy()


@pytest.fixture(scope="module")
def expected(model, run):
    return np.stack([pooled(model, path) for path in run.images])


def test_features_equal_those_of_the_module(model, run, expected):
    found = model.embed(run.images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    one = model.embed(run.images[1])
    assert one.shape == (expected.shape[1],)
    np.testing.assert_allclose(one, expected[1], atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images differ
    assert all(torch.isfinite(value).all() for value in model.module.state_dict().values() if value.is_floating_point())


@pytest.mark.parametrize("batch_size", [1, 2])
def test_features_do_not_depend_on_batches(batch_size, model, run, expected):
    np.testing.assert_allclose(model.embed(run.images, batch_size=batch_size, workers=0), expected, atol=1e-4)
    np.testing.assert_allclose(model.embed(iter(run.images), batch_size=batch_size), expected, atol=1e-4)


def test_optimized_copy_is_created_once(model, run, monkeypatch):
    model.embed(run.images[0])
    monkeypatch.setattr(type(model.opened), "for_inference", None)
    model.embed(run.images[0])


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


def test_numpy_file_is_written_batch_by_batch(tmp_path):
    """The header has a fixed length, and the file appears when it is complete."""
    output = tmp_path / "features.npy"
    with open_embedding_file(output) as file:
        for number in range(1000):
            file.write([f"{number}.png", "line\nbreak\r.png"], np.full((2, 3), number, np.float32))
            assert not output.exists()
    found = np.load(output, mmap_mode="r")
    assert found.shape == (2000, 3)
    assert (found[::2, 0] == np.arange(1000)).all()
    names = (tmp_path / "features.txt").read_text().splitlines()
    assert len(names) == 2000
    assert names[-1] == r"line\nbreak\r.png"


def test_few_images_are_in_memory_at_once(runs, tmp_path):
    run, taken = runs("classify"), []

    def images():
        for number in range(40):
            taken.append(number)
            yield np.full((16, 16, 3), number, np.uint8)

    model = msgformer.load(run.folder, device="cpu")
    compute, ahead = model.opened.embedder(model.config), []

    def compute_and_count(inputs):
        ahead.append(len(taken) - sum(seen))
        seen.append(len(inputs))
        return compute(inputs)

    seen: list[int] = []
    model.opened._embedders = dict.fromkeys(model.opened._embedders, compute_and_count)
    msgformer.embed(model, images(), output=tmp_path / "out.npy", batch_size=4, workers=0, progress="none")
    assert sum(seen) == 40
    assert max(ahead) <= 8
