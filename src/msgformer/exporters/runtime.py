"""Exported files, whatever wrote them, opened and run."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from msgformer.checkpoints.export_card import ExportCard
from msgformer.errors import UserError
from msgformer.exporters.packages import require_runtime
from msgformer.exporters.session import Session


def read_card(path: Path) -> ExportCard:
    """What an exported file says about itself.

    Raises:
        UserError: it can't be read, isn't of this package, or a package that runs such files is missing.
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


def open_session(path: Path, accelerator: str = "auto", threads: int | None = None, *, trust: bool = False) -> Session:
    """An exported file, ready to run.

    Args:
        path: The file.
        accelerator: "auto", "cpu" or "gpu"; those of PyTorch and ExecuTorch run on the CPU.
        threads: Threads for ONNX Runtime and OpenVINO, by default all cores; other formats use torch's.
        trust: Allow machine code in the file to run. Files of AOTInductor consist of it.

    Raises:
        UserError: It can't be read or run, it needs ``trust``, or the device isn't there.
    """
    card = read_card(path)
    if card.format == "aoti" and not trust:
        raise UserError(f"{path} holds machine code, which would run; give --trust true (trust=True) if you trust it")
    if card.format == "onnx":
        from msgformer.exporters.formats.onnx import OnnxSession

        return OnnxSession(path, card, accelerator, threads)
    if card.format == "openvino":
        from msgformer.exporters.formats.openvino import OpenVinoSession

        return OpenVinoSession(path, card, accelerator, threads)
    if accelerator not in ("auto", "cpu"):
        raise UserError(f"accelerator: {path} was exported for the CPU and can't run on {accelerator}; give cpu")
    if card.format == "executorch":
        from msgformer.exporters.formats.executorch import ExecuTorchSession

        return ExecuTorchSession(path, card)
    from msgformer.exporters.formats.torch import CompiledSession, ProgramSession

    return CompiledSession(path, card) if card.format == "aoti" else ProgramSession(path, card)


class ExportedModel(nn.Module):
    """An exported classifier or segmenter in the place of the model that it was made of.

    Args:
        session: The open file.

    Attributes:
        mean: What a segmenter's images have to be normalized with.
        std: Likewise.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.mean, self.std = session.card.mean, session.card.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images [B, C, H, W].

        Raises:
            UserError: the file takes no images of this size.
        """
        (logits,) = self.session(images)
        return logits.to(images.device)
