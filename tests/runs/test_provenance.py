import hashlib
import json
import shutil
import subprocess
from importlib.metadata import version

import pytest

from msgformer.data.classification.subsets import record_subsets
from msgformer.data.files.folder import list_classes
from msgformer.data.files.sources import FolderSource
from msgformer.data.loading.split import write_split
from msgformer.errors import UserError
from msgformer.runs import provenance
from msgformer.runs.provenance import (
    ENVIRONMENT_FILE,
    describe_code,
    describe_images,
    describe_machine,
    read_starts,
    record_start,
)


@pytest.fixture
def root(image_folder):
    return image_folder(per_class=3)


@pytest.fixture
def run(root, tmp_path):
    return recorded(root, tmp_path / "run")


def recorded(root, run):
    """Create a run folder with the list of its images."""
    source = FolderSource(list_classes(root))
    run.mkdir()
    record_subsets(run, source, source)
    return run


def test_every_start_is_recorded(run):
    for _ in range(2):
        record_start(run, "/data")
    first, second = read_starts(run)
    assert first["time"] <= second["time"]
    assert first["code"]["version"] == version("msgformer")
    assert first["packages"]["torch"] == version("torch")
    assert first["data"]["path"] == "/data"
    assert first["data"]["train"]["classes"] == {"dark": 3, "light": 3}


def test_hash_of_names_equals_that_of_the_shell_command(root, run):
    script = "find * -type f -print0 | LC_ALL=C sort -z | sha256sum"
    done = subprocess.run(["bash", "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert describe_images(run)["val"] == {
        "images": 6,
        "classes": {"dark": 3, "light": 3},
        "sha256": done.stdout.split()[0],
    }


def test_additional_name_changes_the_hash(run, image_folder, tmp_path):
    other = recorded(image_folder("other", per_class=4), tmp_path / "other-run")
    assert describe_images(run)["val"]["sha256"] != describe_images(other)["val"]["sha256"]


def test_order_of_names_does_not_change_the_hash(tmp_path):
    hashes = set()
    for number, names in enumerate((["a/1.png", "b/2.png"], ["b/2.png", "a/1.png"])):
        (tmp_path / str(number)).mkdir()
        write_split(tmp_path / str(number), {"val": (names, [name[0] for name in names])})
        hashes.add(describe_images(tmp_path / str(number))["val"]["sha256"])
    assert len(hashes) == 1


def test_description_of_the_machine():
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["processor"]
    assert machine["memory"].endswith("GiB")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Folder with a copy of the package's `__init__.py`, used as the package."""
    folder = tmp_path / "src" / "msgformer"
    folder.mkdir(parents=True)
    shutil.copy(provenance.PACKAGE / "__init__.py", folder)
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    return folder


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_commit_and_uncommitted_changes(package):
    before = describe_code()
    assert (before["commit"], before["uncommitted_changes"]) == (None, None)
    git(package.parents[1], "init")
    git(package.parents[1], "add", ".")
    git(package.parents[1], "commit", "-m", "all")
    clean = describe_code()
    assert clean == {**before, "commit": git(package, "rev-parse", "HEAD"), "uncommitted_changes": False}
    (package / "new.py").write_text("x = 1\n")
    changed = describe_code()
    assert changed["uncommitted_changes"] is True
    assert changed["sha256"] != clean["sha256"]


def test_untracked_package_inside_another_repository_has_no_commit(package):
    git(package.parents[1], "init")
    (package.parents[1] / "other.txt").write_text("other")
    git(package.parents[1], "add", "other.txt")
    git(package.parents[1], "commit", "-m", "other")
    assert describe_code()["commit"] is None


def test_code_is_hashed_without_git(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code = describe_code()
    assert code["commit"] is None
    content = hashlib.sha256((package / "__init__.py").read_bytes()).hexdigest()
    assert code["sha256"] == hashlib.sha256(f"__init__.py\0{content}\0".encode()).hexdigest()


@pytest.mark.parametrize("text", ["{", "{}", '[{"time": 1}]', "[3]"])
def test_invalid_file_is_refused(tmp_path, text):
    (tmp_path / ENVIRONMENT_FILE).write_text(text)
    with pytest.raises(UserError, match=r"environment\.json is.*move it away"):
        read_starts(tmp_path)


def test_run_without_the_file_has_no_starts(tmp_path):
    assert read_starts(tmp_path) == []


def test_undecodable_file_name(tmp_path):
    write_split(tmp_path, {"train": (["a/\udcff.png"], ["a"])})
    record_start(tmp_path, None)
    assert json.loads((tmp_path / ENVIRONMENT_FILE).read_text())[0]["data"]["train"]["images"] == 1
