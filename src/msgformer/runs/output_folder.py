"""Run folders, found and made without torch."""

from __future__ import annotations

import re
from pathlib import Path

from msgformer.data.files.folder import require_path
from msgformer.errors import UserError

CONFIG_FILE = "config.yaml"
RUNS = Path("runs")


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


def find_run(path: Path) -> Path:
    """The run folder to resume.

    Raises:
        UserError: there is no folder, or no run in it that could go on.
    """
    run = require_path(path, "resume")
    if not run.is_dir():
        raise UserError(f"resume: {run} is a file; give the run folder that it lies in")
    if not (run / CONFIG_FILE).is_file():
        raise UserError(f"resume: {run} has no {CONFIG_FILE}, so there is nothing to go on from")
    return run
