"""Bundled datasets; a small fake replaces the package elpv-dataset, which may not be redistributed."""

import sys

import pytest
from PIL import Image

from msgformer.commands.train import train
from msgformer.config.recipes import RECIPES, load_yaml
from msgformer.data.bundled.sample_sets import UNSPLIT_SETS, open_sample_set
from msgformer.data.classification.subsets import open_subsets
from msgformer.data.files.locations import SAMPLE_SETS, Location, resolve_data
from msgformer.errors import UserError

ELPV = Location("sample", "elpv")
ROWS = [(f"images/cell{n:04}.png", probability) for n, probability in enumerate(("0.0", "0.3333", "0.6667", "1.0") * 6)]


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A fake of the package elpv-dataset with 24 cells."""
    folder = tmp_path / "site" / "elpv_dataset"
    (folder / "data" / "images").mkdir(parents=True)
    (folder / "__init__.py").touch()
    for name, probability in ROWS:
        Image.new("L", (30, 30), 100 + int(100 * float(probability))).save(folder / "data" / name)
    table = "".join(f"{name}  {probability}    mono\n" for name, probability in ROWS)
    (folder / "data" / "labels.csv").write_text(table)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield folder / "data"
    sys.modules.pop("elpv_dataset", None)


def test_cells_are_defective_from_two_thirds_on(cells):
    source, held_out = open_sample_set(ELPV)
    assert held_out is None
    assert source.classes == ("defective", "functional")
    assert source.labels == (1, 1, 0, 0) * 6
    assert source.name(2) == "images/cell0002.png"
    assert source.load(2).getpixel((0, 0)) == (166, 166, 166)


def test_digits_by_name_are_those_of_the_main_job():
    named, default = (open_subsets(data, 0.2, 0) for data in ("sample:digits", None))
    assert [named[1].name(i) for i in range(9)] == [default[1].name(i) for i in range(9)]


def test_its_recipe_trains(cells, tmp_path):
    settings = {"epochs": 1, "batch_size": 4, "img_size": 64, "output": tmp_path / "run"}
    machine = {"accelerator": "cpu", "progress": "none"}
    result = train(config="examples/elpv", **settings, trainer=machine, report=False)
    assert result.epochs == 1
    assert load_yaml(RECIPES / "examples" / "elpv.yaml")["data"] == "sample:elpv"


@pytest.mark.parametrize("table", ["images/cell0001.png  much  mono\n", "images/cell0001.png\n", None])
def test_a_broken_table_is_named(cells, table):
    (cells / "labels.csv").unlink() if table is None else (cells / "labels.csv").write_text(table)
    with pytest.raises(UserError, match=r"labels\.csv can't be read .*install elpv-dataset again"):
        open_sample_set(ELPV)


def test_a_missing_package_or_set_is_named():
    assert {*UNSPLIT_SETS, "pairs"} == set(SAMPLE_SETS)
    with pytest.raises(UserError, match=r"needs the package 'elpv_dataset'; install it with: uv sync --extra elpv"):
        resolve_data("sample:elpv")
    with pytest.raises(UserError, match="unknown sample set 'digit'; did you mean 'digits'"):
        resolve_data("sample:digit")
