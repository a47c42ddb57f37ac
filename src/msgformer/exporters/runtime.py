"""Opening and running of exported files in any format."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from msgformer.checkpoints.export_card import ExportCard
from msgformer.errors import UserError
from msgformer.exporters.packages import require_runtime
from msgformer.exporters.session import Session


def read_card(path: Path) -> ExportCard:
    """Read the card of an exported file.

    Raises:
        UserError: The file can't be read, was not written by this package, or needs a package that is missing.
    """
    require_runtime(path)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        from msgformer.exporters.formats.onnx import read_onnx_card as read
    elif suffix == ".xml":
        from msgformer.exporters.formats.openvino import read_openvino_card as read
    elif suffix == ".pte":
        from msgformer.exporters.formats.executorch import read_executorch_card as read
    else:
        from msgformer.exporters.formats.torch import read_torch_card as read
    return ExportCard.from_json(read(path), path)


def open_session(path: Path, device: str = "auto", threads: int | None = None, *, trust: bool = False) -> Session:
    """Open an exported file.

    Args:
        path: The file.
        device: "auto", "cpu", "gpu" or, for ONNX, "cuda:N"; files of PyTorch and ExecuTorch run on the CPU only.
        threads: Threads for ONNX Runtime and OpenVINO, by default all cores; other formats use torch's setting.
        trust: Whether to allow machine code in the file to run; AOTInductor files consist of machine code.

    Raises:
        UserError: The file can't be read or run, it needs ``trust``, or the device is not available.
    """
    card = read_card(path)
    if card.format == "aoti" and not trust:
        raise UserError(f"{path} contains machine code; give --trust true (trust=True) to run it if you trust it")
    if card.format == "onnx":
        from msgformer.exporters.formats.onnx import OnnxSession

        return OnnxSession(path, card, device, threads)
    if card.format == "openvino":
        from msgformer.exporters.formats.openvino import OpenVinoSession

        return OpenVinoSession(path, card, device, threads)
    if device not in ("auto", "cpu"):
        raise UserError(f"device: {path} was exported for the CPU and can't run on {device}; give cpu")
    if card.format == "executorch":
        from msgformer.exporters.formats.executorch import ExecuTorchSession

        return ExecuTorchSession(path, card)
    from msgformer.exporters.formats.torch import CompiledSession, ProgramSession

    return CompiledSession(path, card) if card.format == "aoti" else ProgramSession(path, card)


class ExportedModel(nn.Module):
    """Exported classifier or segmenter with the interface of the original model.

    Args:
        session: Session of the exported file.

    Attributes:
        mean: Mean per channel for normalizing the images of a segmenter.
        std: Standard deviation per channel, likewise.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.mean, self.std = session.card.mean, session.card.std

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits of images [B, C, H, W].

        Raises:
            UserError: The file doesn't accept images of this size.
        """
        (logits,) = self.session(images)
        return logits.to(images.device)
