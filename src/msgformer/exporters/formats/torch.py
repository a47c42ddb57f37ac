"""PyTorch files (.pt2): a graph of torch.export, or one compiled ahead of time by AOTInductor."""

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
    """Write a graph.

    Args:
        program: The captured graph.
        card: Card of the file.
        path: Path of the file.

    Raises:
        OSError: The file can't be written.
    """
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={CARD: card.to_json()})
    path.write_bytes(file.getbuffer())


def save_compiled(program: ExportedProgram, card: ExportCard, path: Path) -> None:
    """Compile a graph for this machine's CPU and write the result.

    Args:
        program: The captured graph.
        card: Card of the file.
        path: Path of the file.

    Raises:
        UserError: There is no C++ compiler, or it fails.
        OSError: The file can't be written.
    """
    # PyTorch documents these names, and no others, for compilation ahead of time.
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import InvalidCxxCompiler

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "model.pt2")
        try:
            with quiet(), torch.no_grad():
                aoti_compile_and_package(program, package_path=str(package))
        except InvalidCxxCompiler as error:
            raise UserError("format aoti needs a C++ compiler, such as g++; install one") from error
        except Exception as error:  # Inductor and its compiler raise many types of errors
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"{card.model} can't be compiled by AOTInductor ({reason}); try another format") from error
        with zipfile.ZipFile(package, "a") as archive:
            root = archive.namelist()[0].partition("/")[0]
            archive.writestr(f"{root}/extra/{CARD}", card.to_json())
        path.write_bytes(package.read_bytes())


def read_torch_card(path: Path) -> str | None:
    """Read the card in an archive as JSON; None if there is none.

    Raises:
        UserError: The file is not an archive, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith(f"/extra/{CARD}")), None)
            return None if name is None else archive.read(name).decode()
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: it is truncated or not a .pt2 file; export it again") from error


class ProgramSession(Session):
    """Session of a torch.export graph, run by torch.

    Args:
        path: The file.
        card: Card of the file.
    """

    def __init__(self, path: Path, card: ExportCard) -> None:
        super().__init__(path, card)
        try:
            with quiet():
                # The card defines the accepted sizes. torch's guards are stricter than the graph: they exclude
                # intermediate sizes of 1, for which a capture would give another graph with the same outputs.
                self.module: Any = torch.export.load(path).module(check_guards=False)
        except Exception as error:  # a damaged file can raise any type of error
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"{path} can't be loaded by torch {torch.__version__} ({reason}); export it again"
            ) from error

    @torch.inference_mode()
    def run(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for images [B, C, H, W]."""
        return as_list(self.module(images))

    @torch.inference_mode()
    def trace_orders(self, images: Tensor) -> list[Order]:
        """Return what the graph sorts for images [B, C, H, W]."""
        watcher = _SortRecorder(self.module)
        watcher.run(images)
        return watcher.orders


class _SortRecorder(Interpreter):
    """Runs a graph and records what it sorts."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.orders: list[Order] = []

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.target is torch.ops.aten.argsort.stable:
            self.orders.append((self.map_nodes_to_values(n.args[0], n), result))  # type: ignore[arg-type]
        return result


class CompiledSession(Session):
    """Session of a graph compiled by AOTInductor, for machines like the one that compiled it.

    Args:
        path: The file. Its machine code is executed, so open only files that you trust.
        card: Card of the file.
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
        """Return the outputs for images [B, C, H, W]."""
        return as_list(self._model(images))


def as_list(outputs: Any) -> list[Tensor]:
    """Return a model's outputs, one or several, as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
