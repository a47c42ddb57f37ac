"""ExecuTorch's files, .pte, for phones and small devices: XNNPACK runs what it can, portable kernels the rest."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from msgformer.checkpoints.export_card import KEY, ExportCard
from msgformer.errors import UserError
from msgformer.exporters.program import quiet
from msgformer.exporters.session import Session

METHOD = "forward"

SORTS = (torch.ops.aten.argsort.stable, torch.ops.aten.sort.stable)
"""What ExecuTorch has no operator for."""


def save_executorch(program: ExportedProgram, card: ExportCard, path: Path) -> None:
    """Write a graph of fixed sizes; a method by the name ``msgformer`` gives its card.

    Raises:
        UserError: an operator of the model has no form there.
        OSError: the file can't be written.
    """
    # torchao, which ExecuTorch imports, makes torch log a note on how torchao is written.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    if any(node.target in SORTS for node in program.graph.nodes):
        raise UserError(f"format executorch: {card.model} sorts tokens, which ExecuTorch can't; try --format onnx")
    try:
        with quiet():
            lowered = to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()], constant_methods={KEY: card.to_json()}
            )
            content = lowered.to_executorch().buffer
    except Exception as error:  # whatever its many passes run into
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{card.model} has no form in ExecuTorch ({reason}); try --format onnx") from error
    path.write_bytes(content)


def _load(path: Path) -> Any:
    """A file's program; raises UserError if it can't be read."""
    with quiet():
        from executorch.runtime import Runtime

    try:
        return Runtime.get().load_program(path)
    except RuntimeError as error:
        raise UserError(f"{path} can't be read by ExecuTorch: it is cut short or damaged; export it again") from error


def read_executorch_card(path: Path) -> str | None:
    """The card in a file, if there is one.

    Raises:
        UserError: the file can't be read.
    """
    program = _load(path)
    return program.load_method(KEY).execute([])[0] if KEY in program.method_names else None


class ExecuTorchSession(Session):
    """A file in ExecuTorch's own runtime, on the CPU.

    Args:
        path: The file.
        card: What it says about itself.
    """

    def __init__(self, path: Path, card: ExportCard) -> None:
        super().__init__(path, card)
        self._program = _load(path)  # its methods live no longer than it
        self._method = self._program.load_method(METHOD)

    def run(self, images: Tensor) -> list[Tensor]:
        """Outputs for images [B, C, H, W]."""
        # The runtime overwrites its outputs at the next call.
        return [output.clone() for output in self._method.execute([images.contiguous()])]
