"""What made a run: code, packages, machine and data, written into the run folder whenever a training starts."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import re
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any

import msgformer
from msgformer.data.loading.split import SPLIT_FILE
from msgformer.errors import UserError

ENVIRONMENT_FILE = "environment.json"
PACKAGE = Path(msgformer.__file__).parent

Start = dict[str, Any]
"""One start of a training: ``time``, ``code``, ``python``, ``packages``, ``machine`` and ``data``."""


def record_start(run: Path, data: str | None) -> None:
    """Add this start to the run folder's ``environment.json``, a list that has one entry a start.

    Args:
        run: Run folder, with the record of its images.
        data: Where the images lie; None if they are embedded.
    """
    from msgformer.checkpoints.checkpoint_file import write_atomically

    text = json.dumps([*read_starts(run), describe_start(run, data)], indent=2)
    write_atomically(run / ENVIRONMENT_FILE, lambda path: path.write_text(f"{text}\n", encoding="utf-8"))


def read_starts(run: Path) -> list[Start]:
    """What the run folder's ``environment.json`` holds; nothing without that file.

    Raises:
        UserError: the file isn't what a training writes.
    """
    path = run / ENVIRONMENT_FILE
    if not path.is_file():
        return []
    try:
        starts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); move it away") from error
    parts = {"time", "code", "python", "packages", "machine", "data"}
    if not isinstance(starts, list) or not all(isinstance(one, dict) and parts <= set(one) for one in starts):
        raise UserError(f"{path} isn't what a training writes; move it away")
    return starts


def describe_start(run: Path, data: str | None) -> Start:
    """What is about to train on what; the arguments are those of :func:`record_start`."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": describe_code(),
        "python": platform.python_version(),
        "packages": {name: one.version for one in distributions() if (name := one.metadata["Name"])},
        "machine": describe_machine(),
        "data": {"path": data, **describe_images(run)},
    }


def describe_code() -> dict[str, Any]:
    """This package's version, its commit (None where that isn't known), and a hash that tells any change."""
    try:
        installed = distribution("msgformer")
        version, origin = installed.version, installed.read_text("direct_url.json")
    except PackageNotFoundError:  # imported from a folder that nothing installed
        version, origin = None, None
    commit = _git("rev-parse", "HEAD")
    if commit is None and origin is not None:  # installed by pip from a repository (PEP 610)
        commit = json.loads(origin).get("vcs_info", {}).get("commit_id")
    status = _git("status", "--porcelain", "--", ".")
    return {
        "version": version,
        "commit": commit,
        "uncommitted_changes": None if status is None else bool(status),
        "sha256": _hash_package(),
    }


def _git(*arguments: str) -> str | None:
    """What git says about the checkout that holds this package; None if there is none, or no git."""
    try:
        # A package in somebody's environment inside somebody's repository isn't tracked there.
        for command in (("ls-files", "--error-unmatch", "__init__.py"), arguments):
            done = subprocess.run(
                ["git", *command], cwd=PACKAGE, capture_output=True, text=True, timeout=10, check=True
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _hash_package() -> str:
    """SHA-256 of the package's files, each by its path and contents."""
    total = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(PACKAGE).as_posix()}\0{content}\0".encode())
    return total.hexdigest()


def describe_machine() -> dict[str, Any]:
    """System, processor, cores that may be used, memory, and accelerators."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory": _memory(),
        "gpus": [f"{gpu.name}, {_gibibytes(gpu.total_memory)}" for gpu in gpus],
        "cuda": torch.version.cuda if gpus else None,
    }


def _processor() -> str:
    """The processor's name, which Python itself knows only on some systems."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.is_file() else None
    return named[1] if named else platform.processor() or platform.machine()


def _memory() -> str | None:
    try:
        return _gibibytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def describe_images(run: Path) -> dict[str, Any]:
    """Of each subset how many images there are, in all and of each class, and the SHA-256 of their names.

    That is of the sorted names with a zero byte after each, in the bytes of the file system. For a folder ``val``:
    ``(cd val; find * -type f -print0 | LC_ALL=C sort -z | sha256sum)``.

    Args:
        run: Run folder, in which ``split.csv`` lists the images.
    """
    names: defaultdict[str, list[bytes]] = defaultdict(list)
    classes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with (run / SPLIT_FILE).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        for row in csv.DictReader(file):
            names[row["subset"]].append(os.fsencode(row["name"]))
            classes[row["subset"]][row["class"]] += 1
    return {
        subset: {
            "images": len(found),
            "classes": dict(classes[subset]),
            "sha256": hashlib.sha256(b"".join(name + b"\0" for name in sorted(found))).hexdigest(),
        }
        for subset, found in names.items()
    }
