"""Commands that write a file or folder: an existing one is refused, or replaced once the new one is complete."""

import pytest

from commands.trained import CPU, make_images, make_run
from msgformer import UserError, average, benchmark, convert, embed, evaluate, explain, export, predict, sample_data

QUIET = {**CPU, "progress": "none"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overwrite")
    return make_run(make_images(folder / "data"), folder / "run", epochs=1)


def images(run):
    return [run.parent / "data" / "dark" / "00.png"]


WRITE = {
    "soup.ckpt": lambda run, **given: average([run / "best.ckpt", run / "last.ckpt"], **given),
    "times": lambda _, **given: benchmark(
        ["test_resnet"], img_size=32, rounds=1, device="cpu", progress="none", **given
    ),
    "weights.safetensors": lambda run, output, **given: convert(run / "best.ckpt", output, **given),
    "features.npy": lambda run, **given: embed(run, images(run), **QUIET, **given),
    "scores": lambda run, **given: evaluate(run, **QUIET, **given),
    "compared": lambda run, **given: evaluate([run / "best.ckpt", run / "last.ckpt"], **QUIET, **given),
    "explained": lambda run, **given: explain(run, images(run), gradients=0, device="cpu", progress="none", **given),
    "model.pt2": lambda run, **given: export(run, format="torch-export", **given),
    "found.csv": lambda run, **given: predict(run, images(run), **QUIET, **given),
    "found.parquet": lambda run, **given: predict(run, images(run), **QUIET, **given),
    "drawn": lambda run, **given: predict(run, images(run), **QUIET, **given),
    "scenes": lambda _, output, **given: sample_data("detect", output, 1, 1, **given),
}


@pytest.mark.parametrize("name", WRITE)
def test_an_existing_output_is_refused_or_replaced(run, tmp_path, name):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    write, output = WRITE[name], tmp_path / name
    first = write(run, output=output)
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    assert files
    mark = output / "mark" if output.is_dir() else output
    mark.write_bytes(b"old")
    with pytest.raises(UserError, match=r"^output: \S+ (exists|isn't empty); pass --overwrite or another --output"):
        write(run, output=output)
    assert mark.read_bytes() == b"old"
    second = write(run, output=output, overwrite=True)
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == files
    assert output.is_dir() or output.read_bytes() != b"old"
    assert type(first) is type(second)
    assert paths(first) == paths(second)


def paths(result):
    return [getattr(result, name, None) for name in ("output", "names", "page", "data", "pictures")]


@pytest.mark.parametrize(("name", "given"), [("drawn", "images"), ("found.csv", "images"), ("model.pt2", "")])
def test_a_failed_command_leaves_the_existing_output(run, tmp_path, name, given, monkeypatch):
    write, output = WRITE[name], tmp_path / name
    write(run, output=output)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    if given:
        broken = tmp_path.parent / "broken.png"
        broken.write_bytes(b"no image")
        with pytest.raises(UserError, match=r"broken\.png"):
            predict(run, [*images(run), broken], output=output, overwrite=True, **QUIET)
    else:
        monkeypatch.setattr("msgformer.tasks.export.run.write_export", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(run, output=output, overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_default_output_of_an_export_is_checked(run):
    path = run / "best.pt2"
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"best\.pt2 exists; pass --overwrite"):
        export(run, format="torch-export")
    assert path.read_bytes() == b"mine"
    path.unlink()


def test_contact_sheets_are_replaced_with_the_predictions(run, tmp_path):
    given = {"output": tmp_path / "found.csv", "contact_sheet": tmp_path / "sheet.png", **QUIET}
    assert predict(run, images(run), **given).contact_sheets == [tmp_path / "sheet.png"]
    (tmp_path / "found.csv").unlink()
    with pytest.raises(UserError, match=r"^contact_sheet: .*sheet\.png exists; pass --overwrite or another"):
        predict(run, images(run), **given)
    (tmp_path / "sheet.png").write_bytes(b"old")
    assert predict(run, images(run), overwrite=True, **given).contact_sheets == [tmp_path / "sheet.png"]
    assert (tmp_path / "sheet.png").read_bytes() != b"old"
    with pytest.raises(UserError, match=r"^overwrite: --skip_completed continues"):
        predict(run, images(run), overwrite=True, skip_completed=True, **QUIET, output=tmp_path / "found.csv")


def test_folders_of_something_else_are_never_replaced(run, tmp_path):
    (tmp_path / "photo.jpg").touch()
    for name in ("times", "scores", "explained", "drawn", "scenes"):
        with pytest.raises(UserError, match="so --overwrite doesn't replace it; pass another --output"):
            WRITE[name](run, output=tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
