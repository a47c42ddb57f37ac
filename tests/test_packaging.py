import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from msgformer.config.recipes import RECIPES

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built without isolation so that nothing is fetched."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile, name: str) -> bytes:
    (path,) = [path for path in wheel.namelist() if path.endswith(f".dist-info/{name}")]
    return wheel.read(path)


def test_wheel_holds_the_whole_package_and_nothing_else(wheel):
    sources = [path for path in (SOURCES / "msgformer").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {path.relative_to(SOURCES).as_posix() for path in sources}
    assert "msgformer/py.typed" in packed


def test_recipes_are_in_the_wheel(wheel):
    recipes = {path.relative_to(SOURCES).as_posix() for path in RECIPES.rglob("*.yaml")}
    assert recipes
    assert recipes <= set(wheel.namelist())


def test_metadata_matches_the_project(wheel):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    described = message_from_bytes(metadata(wheel, "METADATA"))
    assert described["License-Expression"] == "Apache-2.0"
    assert described["Requires-Python"] == project["requires-python"]
    required = [line for line in described.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(required) == len(project["dependencies"])
    assert set(described.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert b"Apache License" in metadata(wheel, "licenses/LICENSE")
    assert b"msgformer = msgformer.cli.main:main" in metadata(wheel, "entry_points.txt")
