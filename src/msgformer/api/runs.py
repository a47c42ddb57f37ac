"""Run folders and the checkpoints in them, found and checked without opening them by torch."""

from __future__ import annotations

import re
from pathlib import Path

from msgformer.data.folder import existing
from msgformer.deploy.card import is_exported
from msgformer.errors import UserError

CONFIG_FILE = "config.yaml"
BEST, LAST = "best.ckpt", "last.ckpt"
RUNS = Path("runs")

ZIP_MAGIC = b"PK\x03\x04"  # torch.save writes zip archives


def check_output(output: Path | None) -> None:
    """Make sure that a new run can be written to ``output``.

    Raises:
        UserError: a file is there, or a folder that isn't empty.
    """
    if output is None or not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"output: {output} is a file, not a folder; give another")
    if any(output.iterdir()):
        raise UserError(f"output: {output} isn't empty; give another folder, or --resume {output} to go on")


def check_new_folder(output: Path | None) -> None:
    """Make sure that a folder for results can be made, or is there and empty.

    Raises:
        UserError: a file is there, or a folder that isn't empty.
    """
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        problem = "is not empty" if output.is_dir() else "is a file"
        raise UserError(f"output: {output} {problem}; give a new folder")


def new_run(output: Path | None, name: str) -> Path:
    """A new, empty folder for a run.

    Args:
        output: Where the user wants it; None for ``runs/NAME-N`` with the first free N.
        name: What the run is about.

    Raises:
        UserError: the folder can't be made.
    """
    check_output(output)
    try:
        if output is None:
            RUNS.mkdir(exist_ok=True)
            return _first_free(re.sub(r"[^\w.-]+", "-", name))
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output: can't make {error.filename} ({error.strerror}); give another --output") from error
    return output


def _first_free(name: str) -> Path:
    number = 1
    while True:
        folder = RUNS / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process may be making one at the same moment
            number += 1
        else:
            return folder


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a run folder or a file stands for; of a run the best, or the last if there is no best.

    Raises:
        UserError: there is none, or the file can't be one.
    """
    path = existing(path, "checkpoint")
    if path.is_dir():
        found = [path / name for name in (BEST, LAST) if (path / name).is_file()]
        if not found:
            raise UserError(f"checkpoint: no {BEST} or {LAST} in {path}; give a run folder of 'msgformer train'")
        path = found[0]
    check_kind(path)
    return path


def find_model(path: Path) -> Path:
    """A checkpoint, as of :func:`find_checkpoint`, or a file of 'msgformer export' itself."""
    return path if is_exported(path) else find_checkpoint(path)


def check_kind(path: Path) -> None:
    """Make sure that a file can be a checkpoint, by its first bytes.

    Raises:
        UserError: it is empty, a web page, or something else.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(ZIP_MAGIC):
        return
    if not head:
        raise UserError(f"checkpoint: {path} is empty; copy or download it again")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UserError(f"checkpoint: {path} is a web page, not a checkpoint; download the file itself")
    raise UserError(
        f"checkpoint: {path} is not a checkpoint of msgformer (best.ckpt or last.ckpt in a run folder);"
        " 'msgformer convert' reads official ones"
    )


def find_run(path: Path) -> Path:
    """The run folder to resume.

    Raises:
        UserError: there is no folder, or no run in it that could go on.
    """
    run = existing(path, "resume")
    if not run.is_dir():
        raise UserError(f"resume: {run} is a file; give the run folder that it lies in")
    if not (run / CONFIG_FILE).is_file():
        raise UserError(f"resume: {run} has no {CONFIG_FILE}, so there is nothing to go on from")
    return run
