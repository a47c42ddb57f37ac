"""Restricted unpickler for PyTorch files with objects of any class, which imports and runs nothing that they name.

``torch.load(weights_only=True)`` rejects such files entirely. Here a pickle can do three things: create plain Python
values, describe tensors, and create empty stand-ins for other objects. Tensors are created after unpickling, from
descriptions that have been checked against the data in the file.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

import torch
from torch import Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First value of a file in the format before torch 1.6, which newer versions still write on request."""

STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class StandIn:
    """Empty replacement for anything not known to be safe: a class, a function, an instance or a result.

    It accepts every operation of a pickle on an object, and ignores it.
    """

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> StandIn:
        """Accept instantiation with any arguments."""
        return super().__new__(cls)

    def __call__(self, *_: Any, **__: Any) -> StandIn:
        """Accept a call with any arguments."""
        return self

    def __setstate__(self, state: Any) -> None:
        """Ignore restored attributes."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore restored items of a mapping."""

    def extend(self, items: Any) -> None:
        """Ignore restored items of a list."""

    append = add = extend


class ReadOnly:
    """Base class of objects that a pickle may use but not modify, since they are shared between files."""

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("it modifies the functions that restore tensors")


@dataclasses.dataclass(frozen=True)
class StorageInfo(ReadOnly):
    """Description of a flat storage that tensors are views of.

    Attributes:
        key: Name of the storage in the file.
        dtype: Type of its elements.
        numel: Number of elements.
    """

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.numel * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class TensorInfo(ReadOnly):
    """Description of a tensor as a view of a storage.

    Attributes:
        storage: The storage.
        offset: First element.
        size: Shape of the tensor.
        stride: Strides in elements.
    """

    storage: StorageInfo
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def check(self) -> None:
        """Raise UnpicklingError if the view exceeds its storage."""
        numbers = (self.offset, *self.size, *self.stride)
        valid = (
            isinstance(self.storage, StorageInfo)
            and all(isinstance(number, int) and number >= 0 for number in numbers)
            and len(self.size) == len(self.stride)
            # Expanded views are rejected: they can have any size, and parameters are never expanded.
            and math.prod(self.size) <= self.storage.numel
        )
        steps = ((n - 1) * stride for n, stride in zip(self.size, self.stride, strict=False))
        if not valid or (0 not in self.size and self.offset + sum(steps) >= self.storage.numel):
            raise pickle.UnpicklingError("it holds a tensor that doesn't fit its data")


@dataclasses.dataclass(frozen=True)
class Function(ReadOnly):
    """Wrapper of a function that a pickle may call."""

    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self.function(*args)


def rebuild_tensor(storage: StorageInfo, offset: int, size: Any, stride: Any, *_: Any) -> TensorInfo:
    """Replace ``torch._utils._rebuild_tensor`` and ``_rebuild_tensor_v2``.

    Args:
        storage: The storage.
        offset: First element in the storage.
        size: Shape of the tensor.
        stride: Strides in elements.
        *_: Gradient flag, hooks and metadata, which are ignored.
    """
    info = TensorInfo(storage, offset, tuple(size), tuple(stride))
    info.check()
    return info


def rebuild_parameter(data: TensorInfo, *_: Any) -> TensorInfo:
    """Replace ``torch._utils._rebuild_parameter``.

    Args:
        data: The tensor.
        *_: Gradient flag and hooks, which are ignored.
    """
    return data


ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": Function(OrderedDict),
    "builtins.set": Function(set),
    "__builtin__.set": Function(set),
    "torch.Size": Function(tuple),
    "torch._utils._rebuild_tensor": Function(rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Function(rebuild_tensor),
    "torch._utils._rebuild_parameter": Function(rebuild_parameter),
    **{f"torch.{name}": dtype for name, dtype in STORAGE_DTYPES.items()},
    **{f"torch.cuda.{name}": dtype for name, dtype in STORAGE_DTYPES.items()},
}
"""Everything that a pickle can refer to by name."""


class RestrictedUnpickler(pickle._Unpickler):
    """Unpickler of one pickle; afterwards ``storages`` and ``left_out`` hold what the pickle referred to.

    It extends the unpickler written in Python, since the one in C allocates as much memory as a file asks for.

    Args:
        file: File positioned at the start of the pickle.
        limit: Maximum total size of the storages in bytes.
    """

    def __init__(self, file: BinaryIO, limit: int) -> None:
        super().__init__(file, encoding="utf-8")
        self.free = limit
        self.storages: dict[str, StorageInfo] = {}
        self.left_out: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement of a class or function, without importing anything.

        Args:
            module: Name of the module.
            name: Name of the class or function.
        """
        qualified = f"{module}.{name}"
        if qualified in ALLOWED:
            return ALLOWED[qualified]
        self.left_out.add(qualified)
        return StandIn

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage that ``pid`` describes: ("storage", type, key, device, numel[, view])."""
        match pid:
            case ("storage", torch.dtype() as dtype, str(key), _, int(numel), *view) if view in ([], [None]):
                return self._register(StorageInfo(key, dtype, numel))
            case ("module", *_):  # a pickled class with its source code
                return StandIn
        raise pickle.UnpicklingError("it holds a storage of an unknown kind")

    def _register(self, storage: StorageInfo) -> StorageInfo:
        if storage.key not in self.storages:
            self.storages[storage.key] = storage
            self.free -= storage.nbytes
        if storage != self.storages[storage.key] or storage.numel < 0 or self.free < 0:
            raise pickle.UnpicklingError("its tensors don't fit its data")
        return storage


def load_restricted(file: BinaryIO, size: int) -> tuple[Any, set[str]]:
    """Read a PyTorch file in the zip format or the one before torch 1.6.

    Args:
        file: File positioned at its start.
        size: Length of the file in bytes.

    Returns:
        The content, with tensors on the CPU, and the names of classes and functions that a `StandIn` replaces.

    Raises:
        Exception: Of almost any type, since damaged and malicious files can make unpickling fail in any way.
    """
    zipped = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    return _load_zip(file, size) if zipped else _load_legacy(file, size)


def _load_zip(file: BinaryIO, size: int) -> tuple[Any, set[str]]:
    with zipfile.ZipFile(file) as archive:
        folders = {member.rpartition("/")[2]: member.rpartition("/")[0] for member in archive.namelist()}
        if "data.pkl" not in folders or "constants.pkl" in folders:
            kind = "a TorchScript program" if "constants.pkl" in folders else "a zip file of something else"
            raise pickle.UnpicklingError(f"it is {kind}, not a saved state_dict")
        folder = folders["data.pkl"]
        if "byteorder" in folders and _member(archive, f"{folder}/byteorder", 16) != sys.byteorder.encode():
            raise pickle.UnpicklingError(f"its byte order isn't this machine's, {sys.byteorder}-endian")
        unpickler = RestrictedUnpickler(io.BytesIO(_member(archive, f"{folder}/data.pkl", size)), size)
        content = unpickler.load()
        data = {
            key: _flat(storage, _member(archive, f"{folder}/data/{key}", storage.nbytes))
            for key, storage in unpickler.storages.items()
        }
    return _with_tensors(content, data, {}), unpickler.left_out


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytearray:
    """Read a file of the archive, and decompress at most ``limit + 1`` bytes."""
    with archive.open(name) as stream:
        return bytearray(stream.read(limit + 1))


def _load_legacy(file: BinaryIO, size: int) -> tuple[Any, set[str]]:
    if RestrictedUnpickler(file, 0).load() != LEGACY_MAGIC:
        raise pickle.UnpicklingError("it is a pickle, but not one that PyTorch wrote")
    for _ in ("version", "system"):
        RestrictedUnpickler(file, 0).load()
    unpickler = RestrictedUnpickler(file, size)
    content = unpickler.load()
    data = {}
    for key in RestrictedUnpickler(file, 0).load():
        storage = unpickler.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.numel:
            raise pickle.UnpicklingError("its tensors don't fit its data")
        data[key] = _flat(storage, bytearray(file.read(storage.nbytes)))
    return _with_tensors(content, data, {}), unpickler.left_out


def _flat(storage: StorageInfo, data: bytearray) -> Tensor:
    """Return a storage's bytes as a tensor [numel].

    Raises:
        UnpicklingError: The number of bytes is wrong.
    """
    if len(data) != storage.nbytes:
        raise pickle.UnpicklingError("its tensors don't fit its data")
    return torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0, dtype=storage.dtype)


def _with_tensors(value: Any, data: dict[str, Tensor], done: dict[int, Any]) -> Any:
    """Copy nested containers, and replace the descriptions of tensors by tensors.

    Args:
        value: Content of a pickle.
        data: Storages by key.
        done: Copies by the id of the original, since a pickle can refer to one value many times.
    """
    if id(value) in done:
        return done[id(value)]
    result: Any = value
    if isinstance(value, TensorInfo):
        result = data[value.storage.key].as_strided(value.size, value.stride, value.offset)
    elif isinstance(value, dict):
        result = done[id(value)] = {}
        # Not value.items(), since a pickle can give an OrderedDict attributes that hide its methods.
        result.update((key, _with_tensors(item, data, done)) for key, item in dict.items(value))
    elif isinstance(value, list):
        result = done[id(value)] = []
        result.extend(_with_tensors(item, data, done) for item in value)
    elif isinstance(value, tuple):
        result = tuple(_with_tensors(item, data, done) for item in value)
    done[id(value)] = result
    return result
