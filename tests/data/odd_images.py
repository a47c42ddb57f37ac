"""Unusual image files, and invalid files, by the kind of irregularity."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

RGB = Image.merge("RGB", [Image.radial_gradient("L").resize((40, 36)).point(lambda v, k=k: v // k) for k in (1, 2, 3)])
"""An image of 40 x 36 pixels."""

Write = Callable[[Path], object]


def huge_jpeg(path: Path) -> None:
    """Return a complete gray JPEG of 30,000 x 20,000 pixels that repeats one code."""
    encoded = io.BytesIO()
    Image.new("L", (8, 8), 128).save(encoded, "JPEG")
    content = bytearray(encoded.getvalue())
    size = content.index(b"\xff\xc0") + 5
    content[size : size + 4] = struct.pack(">HH", 20_000, 30_000)
    scan = content.index(b"\xff\xda")
    start = scan + 2 + struct.unpack(">H", content[scan + 2 : scan + 4])[0]
    blocks = (20_000 // 8) * (30_000 // 8)
    # Four blocks of three bytes: "no change of the mean" (00) and "no more coefficients" (1010) each.
    path.write_bytes(bytes(content[:start]) + b"\x28\xa2\x8a" * (blocks // 4) + b"\xff\xd9")


def huge_png(path: Path) -> None:
    """Return a PNG whose header declares 30,000 x 20,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 30_000, 20_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def cut(path: Path, suffix: str, part: float = 0.5) -> None:
    """Return the first part of an image file."""
    encoded = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(encoded, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    path.write_bytes(encoded.getvalue()[: int(len(encoded.getvalue()) * part)])


def rotated(path: Path) -> None:
    """Return a JPEG whose EXIF orientation rotates it by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    RGB.save(path, exif=exif)


def animated(path: Path) -> None:
    """Return an animation of three frames."""
    RGB.save(path, save_all=True, append_images=[RGB.rotate(90), RGB.rotate(180)], duration=100)


READABLE: dict[str, tuple[str, Write]] = {
    "sixteen bits": (
        "deep.png",
        lambda path: Image.fromarray(np.arange(1440, dtype=np.uint16).reshape(36, 40)).save(path),
    ),
    "floating point": ("float.tif", lambda path: Image.fromarray(np.ones((36, 40), np.float32)).save(path)),
    "palette": ("palette.png", lambda path: RGB.convert("P").save(path)),
    "one bit": ("bits.png", lambda path: RGB.convert("1").save(path)),
    "CMYK": ("print.jpg", lambda path: RGB.convert("CMYK").save(path)),
    "grey": ("grey.jpg", lambda path: RGB.convert("L").save(path)),
    "grey and alpha": ("grey-alpha.png", lambda path: RGB.convert("LA").save(path)),
    "alpha": ("alpha.png", lambda path: RGB.convert("RGBA").save(path)),
    "transparent palette": ("clear.png", lambda path: RGB.convert("P").save(path, transparency=0)),
    "animated GIF": ("film.gif", animated),
    "animated PNG": ("film.png", animated),
    "animated WebP": ("film.webp", animated),
    "turned by EXIF": ("turned.jpg", rotated),
    "one pixel": ("dot.png", lambda path: Image.new("RGB", (1, 1), "red").save(path)),
    "30,000 x 20,000 JPEG": ("huge.jpg", huge_jpeg),
    "a name with spaces": ("a b c.png", RGB.save),
    "a name in Greek": ("αβγ ü.png", RGB.save),
    "a name with a line break": ("line\nbreak.png", RGB.save),
    "PNG named .jpg": ("really-png.jpg", lambda path: RGB.save(path, "PNG")),
}
"""Writers of readable images by file name."""

UNREADABLE: dict[str, tuple[str, Write]] = {
    "empty": ("empty.png", lambda path: path.write_bytes(b"")),
    "text": ("text.jpg", lambda path: path.write_text("not a picture at all\n")),
    "cut JPEG": ("cut.jpg", lambda path: cut(path, "jpg")),
    "cut PNG": ("cut.png", lambda path: cut(path, "png")),
    "cut GIF": ("cut.gif", lambda path: cut(path, "gif")),
    "cut WebP": ("cut.webp", lambda path: cut(path, "webp")),
    "header only": ("header.jpg", lambda path: cut(path, "jpg", 0.02)),
    "30,000 x 20,000 PNG": ("huge.png", huge_png),
    "web page": ("page.png", lambda path: path.write_text("<!doctype html><html>not found</html>")),
    "broken link": ("link.png", lambda path: path.symlink_to("nowhere.png")),
    "link to itself": ("loop.png", lambda path: path.symlink_to(path.name)),
    "line break": ("bad\nline.png", lambda path: path.write_bytes(b"")),
}
"""Writers of unreadable files by file name."""
