"""Provenance of a run: code, packages, machine and data, recorded in the run folder at each start of the training."""

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
    """Add this start to the run folder's ``environment.json``, a list with one entry per start.

    Args:
        run: Run folder, in which ``split.csv`` lists the images.
        data: Location of the images; None for bundled data.
    """
    from msgformer.checkpoints.checkpoint_file import write_atomically

    text = json.dumps([*read_starts(run), describe_start(run, data)], indent=2)
    write_atomically(run / ENVIRONMENT_FILE, lambda path: path.write_text(f"{text}\n", encoding="utf-8"))


def read_starts(run: Path) -> list[Start]:
    """Return the content of the run folder's ``environment.json``; an empty list without that file.

    Raises:
        UserError: The file is damaged, or wasn't written by a training.
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
        raise UserError(f"{path} is no record of a training; move it away")
    return starts


def describe_start(run: Path, data: str | None) -> Start:
    """Describe the code, packages, machine and data of a training that is about to start.

    Args:
        run: Run folder, in which ``split.csv`` lists the images.
        data: Location of the images; None for bundled data.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": describe_code(),
        "python": platform.python_version(),
        "packages": {name: one.version for one in distributions() if (name := one.metadata["Name"])},
        "machine": describe_machine(),
        "data": {"path": data, **describe_images(run)},
    }


def describe_code() -> dict[str, Any]:
    """Return this package's version, its commit (None if unknown), and a hash of its files."""
    try:
        installed = distribution("msgformer")
        version, origin = installed.version, installed.read_text("direct_url.json")
    except PackageNotFoundError:  # imported from a folder without installation
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
    """Return git's output for the checkout of this package; None without a checkout or without git."""
    try:
        # The first command fails if the package is installed inside another repository, which doesn't track it.
        for command in (("ls-files", "--error-unmatch", "__init__.py"), arguments):
            done = subprocess.run(
                ["git", *command], cwd=PACKAGE, capture_output=True, text=True, timeout=10, check=True
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _hash_package() -> str:
    """Return the SHA-256 of the paths and contents of the package's files."""
    total = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(PACKAGE).as_posix()}\0{content}\0".encode())
    return total.hexdigest()


def describe_machine() -> dict[str, Any]:
    """Return system, processor, number of usable cores, memory and accelerators."""
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
    """Return the processor's name, which Python itself knows only on some systems."""
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
    """Return per subset the number of images, in total and per class, and the SHA-256 of their names.

    The hash is that of the sorted names, encoded as in the file system, each followed by a zero byte. The shell
    computes it for a folder ``val`` by ``(cd val; find * -type f -print0 | LC_ALL=C sort -z | sha256sum)``.

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
