"""Compilation of the C++ kernels of this folder for the local processor, at first use.

Without a compiler, or if the library can't be stored or loaded, there are no kernels, and PyTorch's operators compute
the same. ``MSGFORMER_NATIVE=0`` disables them; ``CXX`` selects a compiler other than ``c++``. The process that compiles
prints one line; other processes that need the kernels wait for it.
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
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from filelock import FileLock
from torch import Tensor

from msgformer.kernels.graph_capture import is_recorded
from msgformer.utils.cache import cache_folder

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "kernels.cpp"
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fPIC", "-fopenmp")
COMPILER_SECONDS = 120

CHANNELS = 16
"""Channels must be a multiple of this number, which is a multiple of every processor's vector width."""

P = ParamSpec("P")
T = TypeVar("T")

_logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None if they are not available."""
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if os.environ.get("MSGFORMER_NATIVE") == "0" or compiler is None or os.name != "posix":
        return None
    try:
        path = cache_folder() / "native" / f"{_identity(compiler)}.so"
        if not path.is_file():
            _build_once(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        _logger.info("no C++ kernels: %s", error)
        return None


def is_loaded() -> bool:
    """Whether kernels may be called here and now: not in graphs that are exported or observed."""
    if torch.compiler.is_compiling():
        allowed: bool = _is_loaded_for_graphs()
        return allowed
    return not is_recorded() and library() is not None  # modes that observe operators need PyTorch's


@torch.compiler.assume_constant_result
def _is_loaded_for_graphs() -> bool:
    """Whether graphs may call the kernels: compiled graphs may, exported ones may not."""
    return not torch.compiler.is_exporting() and library() is not None


def is_plain(x: Tensor) -> bool:
    """Whether kernels support a tensor [...]: float32 on the CPU, and no gradient is needed."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not (x.requires_grad and torch.is_grad_enabled())


_POINTER, _NUMBER, _FLOAT, _FLAG = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_bool
_LIST = ctypes.POINTER(_NUMBER)
_ARGUMENTS: dict[str, list[Any]] = {
    "attention": [*[_POINTER] * 6, *[_NUMBER] * 6, *[_LIST] * 4, _FLOAT],
    "attention_backward": [*[_POINTER] * 5, *[_NUMBER] * 5, _LIST, _FLOAT],
    "norm_gelu": [*[_POINTER] * 3, *[_NUMBER] * 3, ctypes.c_double, _FLAG],
    "pack": [*[_POINTER] * 2, *[_NUMBER] * 2],
    "linear": [*[_POINTER] * 5, *[_NUMBER] * 3, _FLOAT, _FLAG],
    "mlp": [*[_POINTER] * 6, *[_NUMBER] * 3, _FLOAT],
    "conv_between": [*[_POINTER] * 10, *[_NUMBER] * 6, _FLOAT, _FLAG],
    "layer_norm": [*[_POINTER] * 4, *[_NUMBER] * 2, _FLOAT, _FLAG],
    "rank_twice": [*[_POINTER] * 2, *[_NUMBER] * 3],
    "merge_ranked": [*[_POINTER] * 5, *[_LIST] * 2, *[_NUMBER] * 6],
    "window_attention": [*[_POINTER] * 7, *[_NUMBER] * 5, _LIST, *[_FLOAT] * 2],
}


def call(name: str, *arguments: Any) -> None:
    """Call a kernel of kernels.cpp.

    Args:
        name: Name of the kernel.
        *arguments: Its arguments; tensors are passed as pointers, None as a null pointer.
    """
    _function(name)(*(one.data_ptr() if isinstance(one, Tensor) else one for one in arguments))


@lru_cache
def _function(name: str) -> Any:
    function = getattr(library(), name)
    function.argtypes, function.restype = _ARGUMENTS[name], None
    return function


def operator(
    name: str, fake: Callable[..., Any], mutates_args: tuple[str, ...] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Register a function that calls kernels as an operator of PyTorch, for captured graphs.

    Outside graphs the function is called directly, which takes a tenth of the time that PyTorch needs to dispatch an
    operator.

    Args:
        name: Name of the operator, after ``msgformer::``.
        fake: Function that returns an empty result, for graph capture.
        mutates_args: Arguments that the function changes in place.
    """

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        registered = torch.library.custom_op(f"msgformer::{name}", function, mutates_args=mutates_args)
        registered.register_fake(fake)

        @wraps(function)
        def choose(*args: P.args, **kwargs: P.kwargs) -> T:
            return registered(*args, **kwargs) if torch.compiler.is_compiling() else function(*args, **kwargs)

        return choose

    return wrap


def integers(*numbers: int) -> Any:
    """Create an array of integers for `call`."""
    return (_NUMBER * len(numbers))(*numbers)


def _identity(compiler: str) -> str:
    """Hash of sources, compiler and processor, because a cache folder may be shared by several machines."""
    sources = [path.read_text(encoding="utf-8") for path in sorted([SOURCE, *FOLDER.glob("*.h")])]
    parts = [*sources, compiler, *FLAGS, torch.__version__, platform.machine(), _processor()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _processor() -> str:
    """Describe the instruction set of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return platform.processor()
    return "".join(sorted(set(re.findall(r"^(?:flags|Features|model name)\s*:.*$", cpuinfo.read_text(), re.MULTILINE))))


def _build_once(compiler: str, path: Path) -> None:
    """Compile the library, or wait while another process compiles it.

    Args:
        compiler: Path of the compiler.
        path: The library.

    Raises:
        OSError: The cache folder can't be written, or the other process takes too long.
        RuntimeError: The compiler fails, here or in the other process.
        SubprocessError: The compiler takes too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    failure = path.with_suffix(".failed")
    earlier = _modified(failure)
    with FileLock(path.with_suffix(".lock"), timeout=3 * COMPILER_SECONDS):  # released by the system if a process dies
        if path.is_file():
            return
        if _modified(failure) != earlier:
            raise RuntimeError(f"another process could not compile them: {failure.read_text(encoding='utf-8')}")
        print(
            "msgformer: compiling C++ kernels for this machine, which happens once and may take a minute; "
            f"they are stored in {path.parent} (MSGFORMER_NATIVE=0 turns them off)",
            file=sys.stderr,
            flush=True,
        )
        try:
            _build(compiler, path)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            reason = " ".join(str(error).split())[-200:]
            failure.write_text(reason, encoding="utf-8")
            print(
                f"msgformer: no C++ kernels, PyTorch's are used: {reason}",
                file=sys.stderr,
                flush=True,
            )
            raise
        failure.unlink(missing_ok=True)


def _modified(path: Path) -> int | None:
    """Return the modification time of a file in nanoseconds; None if there is no file."""
    return path.stat().st_mtime_ns if path.exists() else None


def _build(compiler: str, path: Path) -> None:
    """Compile the source to a library; the file is replaced atomically."""
    package = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        compiled, linked = Path(folder) / "native.o", Path(folder) / "native.so"
        _run(compiler, *FLAGS, "-I", str(package / "include"), "-c", str(SOURCE), "-o", str(compiled))
        # Do not link OpenMP: its symbols must be those that PyTorch has loaded, or there are two thread pools.
        _run(compiler, "-shared", str(compiled), "-o", str(linked), "-L", str(package / "lib"), "-ltorch_cpu", "-lc10")
        linked.replace(path)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILER_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
