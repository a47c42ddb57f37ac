"""Tar files of small images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image


def png(grey: int = 0) -> bytes:
    """Return an encoded image of 12 x 10 pixels."""
    encoded = io.BytesIO()
    Image.new("RGB", (12, 10), (grey, grey, 255 - grey)).save(encoded, "PNG")
    return encoded.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    """Write a tar file with the given files in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return a tar file with the given files as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write_shard(path: Path, labels: Mapping[str, object], suffix: str = "cls") -> Path:
    """Write a WebDataset shard: one image per key, with its label stored under ``suffix``."""
    files: dict[str, bytes] = {}
    for key, label in labels.items():
        files[f"{key}.png"] = png(len(files) * 5)
        files[f"{key}.{suffix}"] = str(label).encode()
    return write_tar(path, files)
