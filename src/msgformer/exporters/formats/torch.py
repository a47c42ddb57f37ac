"""PyTorch's own files, .pt2: a graph of torch.export, or one that was compiled ahead of time (AOTInductor)."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Interpreter, Node

from msgformer.checkpoints.export_card import KEY, ExportCard
from msgformer.errors import UserError
from msgformer.exporters.program import quiet
from msgformer.exporters.session import Order, Session

CARD = f"{KEY}.json"
"""Name of the card inside the archive, in its folder ``extra/``."""


def save_program(program: ExportedProgram, card: ExportCard, path: Path) -> None:
    """Write a graph; raises OSError where that fails."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={CARD: card.to_json()})
    path.write_bytes(file.getbuffer())


def save_compiled(program: ExportedProgram, card: ExportCard, path: Path) -> None:
    """Compile a graph for this machine's CPU and write the result.

    Raises:
        UserError: there is no C++ compiler, or it fails.
        OSError: the file can't be written.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import InvalidCxxCompiler

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "model.pt2")
        try:
            with quiet(), torch.no_grad():
                aoti_compile_and_package(program, package_path=str(package))
        except InvalidCxxCompiler as error:
            raise UserError("format aoti needs a C++ compiler, such as g++; install one") from error
        except Exception as error:  # Inductor raises whatever its compiler and it run into
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"{card.model} can't be compiled by AOTInductor ({reason}); try another format") from error
        with zipfile.ZipFile(package, "a") as archive:
            root = archive.namelist()[0].partition("/")[0]
            archive.writestr(f"{root}/extra/{CARD}", card.to_json())
        path.write_bytes(package.read_bytes())


def read_torch_card(path: Path) -> str | None:
    """The card in an archive, if there is one.

    Raises:
        UserError: the file is no archive, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith(f"/extra/{CARD}")), None)
            return None if name is None else archive.read(name).decode()
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: it is cut short or no .pt2 file; export it again") from error


class ProgramSession(Session):
    """A graph of torch.export, run by torch.

    Args:
        path: The file.
        card: What it says about itself.
    """

    def __init__(self, path: Path, card: ExportCard) -> None:
        super().__init__(path, card)
        try:
            with quiet():
                # The card says what sizes are taken. torch's own guards are stricter than its graph: they hold that
                # no size on the way is 1, since one of 1 would have been captured otherwise, to the same effect.
                self.module: Any = torch.export.load(path).module(check_guards=False)
        except Exception as error:  # a damaged file can make it fail in any way
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"{path} can't be loaded by torch {torch.__version__} ({reason}); export it again"
            ) from error

    @torch.inference_mode()
    def run(self, images: Tensor) -> list[Tensor]:
        """Outputs for images [B, C, H, W]."""
        return as_list(self.module(images))

    @torch.inference_mode()
    def trace_orders(self, images: Tensor) -> list[Order]:
        """What the graph sorted on the way."""
        watcher = _SortRecorder(self.module)
        watcher.run(images)
        return watcher.orders


class _SortRecorder(Interpreter):
    """Runs a graph and keeps what it sorts."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.orders: list[Order] = []

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.target is torch.ops.aten.argsort.stable:
            self.orders.append((self.map_nodes_to_values(n.args[0], n), result))  # type: ignore[arg-type]
        return result


class CompiledSession(Session):
    """A graph that AOTInductor compiled; it runs on machines like the one that it was compiled on.

    Args:
        path: The file. Its machine code is run: open only files that you trust.
        card: What it says about itself.
    """

    def __init__(self, path: Path, card: ExportCard) -> None:
        super().__init__(path, card)
        try:
            with quiet():
                self._model = torch._inductor.aoti_load_package(str(path))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} can't be loaded on this machine ({reason}); export it here") from error

    @torch.inference_mode()
    def run(self, images: Tensor) -> list[Tensor]:
        """Outputs for images [B, C, H, W]."""
        return as_list(self._model(images))


def as_list(outputs: Any) -> list[Tensor]:
    """A model's outputs, one or several, as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
