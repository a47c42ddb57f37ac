"""Creation and checks of output folders. Imports no heavy library."""

from __future__ import annotations

import re
from pathlib import Path

from msgformer.config.recipes import CONFIG_FILE
from msgformer.data.files.folder import require_path
from msgformer.errors import UserError
from msgformer.utils.output_path import holds_files

RUNS = Path("runs")
"""Default parent of run folders, in the working directory."""


def check_output(output: Path | None) -> None:
    """Check that a new run can be written to ``output``.

    Raises:
        UserError: It is a file, or a folder that isn't empty.
    """
    if output is not None and holds_files(output):
        raise UserError(f"output: {output} isn't empty; give another folder, or --resume {output} to continue that run")


def new_run(output: Path | None, name: str) -> Path:
    """Create an empty folder for a run.

    Args:
        output: The folder; None for ``runs/NAME-N`` with the first free N.
        name: Base of the folder's name.

    Raises:
        UserError: The folder can't be created.
    """
    check_output(output)
    try:
        if output is None:
            RUNS.mkdir(exist_ok=True)
            return _first_free(re.sub(r"[^\w.-]+", "-", name))
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output: can't create {error.filename} ({error.strerror}); give another --output") from error
    return output


def _first_free(name: str) -> Path:
    number = 1
    while True:
        folder = RUNS / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process may create it at the same moment
            number += 1
        else:
            return folder


def find_run(path: Path) -> Path:
    """Return the run folder to resume.

    Raises:
        UserError: There is no such folder, or it holds no run that can be resumed.
    """
    run = require_path(path, "resume")
    if not run.is_dir():
        raise UserError(f"resume: {run} is a file; give the run folder")
    if not (run / CONFIG_FILE).is_file():
        raise UserError(f"resume: {run} has no {CONFIG_FILE}, so it is no run to resume; give a run folder")
    return run
