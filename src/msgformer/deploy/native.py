"""The C++ kernels of native.cpp, compiled for the processor at hand the first time that they are wanted.

Where there is no compiler, or what it makes can't be kept or loaded, there are no kernels, and PyTorch's operators
compute the same. ``MSGFORMER_NATIVE=0`` leaves them out; ``CXX`` names another compiler than ``c++``.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch

from msgformer.cache import cache_folder

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fPIC", "-fopenmp")
COMPILER_SECONDS = 120

_logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or nothing where there can't be any."""
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if os.environ.get("MSGFORMER_NATIVE") == "0" or compiler is None or os.name != "posix":
        return None
    try:
        path = cache_folder() / "native" / f"{_identity(compiler)}.so"
        if not path.is_file():
            _build(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        _logger.info("no kernels of native.cpp: %s", error)
        return None


def _identity(compiler: str) -> str:
    """Of the source, what compiles it, and what it is compiled for: a cache folder may serve several machines."""
    parts = [SOURCE.read_text(encoding="utf-8"), compiler, *FLAGS, torch.__version__, platform.machine(), _processor()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _processor() -> str:
    """What tells processors of different instructions apart."""
    known = Path("/proc/cpuinfo")
    if not known.is_file():
        return platform.processor()
    return "".join(sorted(set(re.findall(r"^(?:flags|Features|model name)\s*:.*$", known.read_text(), re.MULTILINE))))


def _build(compiler: str, path: Path) -> None:
    """Compiles the source to a library, which appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    package = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        compiled, linked = Path(folder) / "native.o", Path(folder) / "native.so"
        _run(compiler, *FLAGS, "-I", str(package / "include"), "-c", str(SOURCE), "-o", str(compiled))
        # Without OpenMP's library: its symbols are to be those that PyTorch has loaded, or there are threads twice.
        _run(compiler, "-shared", str(compiled), "-o", str(linked), "-L", str(package / "lib"), "-ltorch_cpu", "-lc10")
        linked.replace(path)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILER_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
