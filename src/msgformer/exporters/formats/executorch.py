"""ExecuTorch files (.pte) for mobile devices: XNNPACK runs the operators it supports, portable kernels the rest."""

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
"""Operators that ExecuTorch does not support."""


def save_executorch(program: ExportedProgram, card: ExportCard, path: Path) -> None:
    """Write a graph of fixed sizes; its method ``msgformer`` returns the card.

    Args:
        program: The captured graph.
        card: Card of the file.
        path: Path of the file.

    Raises:
        UserError: ExecuTorch does not support an operator of the model.
        OSError: The file can't be written.
    """
    # ExecuTorch imports torchao, for which torch logs an irrelevant note.
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
    except Exception as error:  # its passes raise many types of errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{card.model} can't be converted to ExecuTorch ({reason}); try --format onnx") from error
    path.write_bytes(content)


def _load(path: Path) -> Any:
    """Load a file's program; raises UserError if it can't be read."""
    with quiet():
        from executorch.runtime import Runtime

    try:
        return Runtime.get().load_program(path)
    except RuntimeError as error:
        raise UserError(f"{path} can't be read by ExecuTorch: it is truncated or damaged; export it again") from error


def read_executorch_card(path: Path) -> str | None:
    """Read the card in a file as JSON; None if there is none.

    Raises:
        UserError: The file can't be read.
    """
    program = _load(path)
    return program.load_method(KEY).execute([])[0] if KEY in program.method_names else None


class ExecuTorchSession(Session):
    """Session of ExecuTorch's runtime, on the CPU.

    Args:
        path: The file.
        card: Card of the file.
    """

    def __init__(self, path: Path, card: ExportCard) -> None:
        super().__init__(path, card)
        self._program = _load(path)  # its methods are valid only while the program exists
        self._method = self._program.load_method(METHOD)

    def run(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for images [B, C, H, W]."""
        # The runtime overwrites its outputs in the next call.
        return [output.clone() for output in self._method.execute([images.contiguous()])]
