"""Frames of video files, decoded sequentially with PyAV."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgformer.data.files.memory_inputs import DecodedInput
from msgformer.errors import UserError, shown
from msgformer.utils.packages import require_package

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from PIL import Image

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
"""Suffixes of video files, in lower case."""

TRANSPOSES = {
    (-1, 0, 0, 1): "FLIP_LEFT_RIGHT",
    (1, 0, 0, -1): "FLIP_TOP_BOTTOM",
    (-1, 0, 0, -1): "ROTATE_180",
    (0, -1, 1, 0): "ROTATE_90",
    (0, 1, -1, 0): "ROTATE_270",
    (0, 1, 1, 0): "TRANSPOSE",
    (0, -1, -1, 0): "TRANSVERSE",
}
"""Pillow's operation by the signs of a display matrix (a, b, c, d): x' = a x + c y, y' = b x + d y."""


def is_video(path: str) -> bool:
    """Return whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def require_pyav() -> None:
    """Check that PyAV is installed; raises UserError with the name of the extra otherwise."""
    require_package("av", "video", "reading videos")


class FrameInput(NamedTuple):
    """A frame of a video.

    Attributes:
        path: The video.
        number: Number of the frame, starting at 0.
        image: The frame in RGB; if None, loading decodes the video up to this frame.
    """

    path: str
    number: int
    image: Image.Image | None = None

    @property
    def name(self) -> str:
        """The path of the video, a colon, and the number of the frame."""
        return f"{self.path}:{self.number:06d}"

    @property
    def carries_pixels(self) -> bool:
        """Whether the input holds the decoded frame."""
        return self.image is not None

    def reference(self) -> FrameInput:
        """Return the frame without its pixels, so that the results of a whole video stay small."""
        return self._replace(image=None)

    def load(self, min_side: int = 0, value_range: object = None) -> Image.Image:  # noqa: ARG002  (for files only)
        """Return the frame in RGB.

        Args:
            min_side: Unused, since frames are decoded at full size.
            value_range: Unused, since frames have 8 bits.

        Raises:
            UserError: The video can't be read, or has changed.
        """
        if self.image is not None:
            return self.image
        frame = next(islice(video_frames(self.path), self.number, None), None)
        if frame is None:
            raise UserError(f"video {shown(self.path)} has no frame {self.number} any more; predict it again")
        return frame.load()


def video_frames(path: str) -> Iterator[FrameInput | DecodedInput]:
    """Decode a video frame by frame; only the frames that the decoder needs are in memory.

    Args:
        path: The file. The name of a frame is the path, a colon, and the frame number, starting at 000000.

    Yields:
        The frames in display order. If the file can't be opened or is damaged, the last item is an input that fails to
        load.

    Raises:
        UserError: PyAV is not installed.
    """
    require_pyav()
    import av

    number = 0
    try:
        # "file:", because FFmpeg treats a name with a colon as a protocol; the whitelist blocks network access.
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
            operation = None
            for frame in _decode(container, path):
                if number == 0:
                    operation = _transpose(frame)
                image = frame.to_image()
                upright = image if operation is None else image.transpose(operation)
                yield FrameInput(path, number, upright)
                number += 1
        if number == 0:
            yield _unreadable(path, path, "no frame in it")
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        if number:
            yield _unreadable(path, f"{path}:{number:06d}", f"{reason} at frame {number}")
        else:
            yield _unreadable(path, path, reason)


def _decode(container: InputContainer, path: str) -> Iterator[VideoFrame]:
    """Yield the frames of the first video stream.

    Raises:
        OSError: There is no video stream, or the file is cut off.
    """
    if not container.streams.video:
        raise OSError(errno.ENODATA, "no video stream in it")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    end = 0.0
    for packet in container.demux(stream):
        # With several threads the decoder would skip a damaged packet without an error.
        for frame in stream.decode(None if packet.is_corrupt else packet):
            end = frame.time or end
            yield frame
        if packet.is_corrupt:
            raise OSError(errno.EIO, "file cut off")
    seconds = (container.duration or 0) / 1e6
    if seconds - end > max(1.0, 0.1 * seconds):  # in Matroska the only sign of truncation; the audio may also be longer
        warnings.warn(f"video {shown(path)} ends at {end:.1f} s of {seconds:.1f} s; it may be cut off", stacklevel=2)


def _unreadable(path: str, name: str, reason: str) -> DecodedInput:
    return DecodedInput(name, error=f"can't read video {shown(path)} ({reason}); replace or remove it")


def _transpose(frame: VideoFrame) -> Image.Transpose | None:
    """Return the operation that rotates frames upright according to a frame's display matrix; None if there is none.

    Called for the first frame only, since reading the matrix creates a reference cycle that keeps the frame in memory.
    """
    from PIL import Image

    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    a, b, _, c, d, *_ = ((value > 0) - (value < 0) for value in memoryview(bytes(data)).cast("i"))
    name = TRANSPOSES.get((a, b, c, d))
    return None if name is None else Image.Transpose[name]
