"""What ends a training before its time, in words that say what to do."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import torch
from lightning import Trainer

from msgformer.checkpoints.model_location import LAST
from msgformer.errors import JobError, UserError
from msgformer.training.module import NotFiniteError, Training

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|bad_alloc|bad allocation|Failed to allocate memory|memory isn't enough"  # of what C++ runs beside PyTorch
)
LOST_CONNECTION = re.compile(r"Connection (closed|reset)|Broken pipe|gloo|NCCL|TCPStore|Timed out", re.IGNORECASE)


def how_to_go_on(folder: Path | None) -> str:
    """What is safe of a run, and the command that goes on with it; nothing where it wasn't begun."""
    if folder is None:
        return "start it again"
    if (folder / LAST).is_file():
        return f"what was trained is safe, and 'msgformer train --resume {folder}' goes on from there"
    return f"nothing was saved yet; 'msgformer train --resume {folder}' starts over"


def explain(error: Exception, folder: Path | None, trainer: Trainer, module: Training) -> Exception | None:
    """The same error in one line that says what to do; None where nothing is known about it.

    Args:
        error: What came out of the training.
        folder: Its run folder, if there is one by now.
        trainer: What it ran in.
        module: What was trained.
    """
    if isinstance(error, NotFiniteError):
        return None  # it says what to do, and going on would end in the same
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        where = error.filename or folder
        reason = (error.strerror or "").lower()
        return JobError(f"{where} can't be written ({reason}); make room, then: {how_to_go_on(folder)}")
    if isinstance(error, UserError):
        begun = folder is not None and (folder / LAST).is_file()
        return UserError(f"{error}; {how_to_go_on(folder)}") if begun else None
    text = " ".join(str(error).split())
    if is_out_of_memory(error):
        return UserError(_out_of_memory(trainer, module))
    # A worker that dies while it hands a batch over shows as a pipe that breaks.
    if "DataLoader worker" in text or isinstance(error, ConnectionError | EOFError):
        return JobError(_worker_died(text, folder))
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, of the machine or of an accelerator."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(OUT_OF_MEMORY.search(str(error)))


def lost_connection(error: Exception) -> bool:
    """Whether an error may come from another process of the training that has died."""
    return isinstance(error, RuntimeError) and LOST_CONNECTION.search(str(error)) is not None


def _out_of_memory(trainer: Trainer, module: Training) -> str:
    accumulate = trainer.accumulate_grad_batches
    batch = module.plan.total_batch // (trainer.world_size * accumulate)
    smaller = f"--batch_size {batch // 2} --trainer.accumulate {2 * accumulate} (the same total batch), "
    return (
        f"out of memory on {module.device} with batches of {batch}; use {smaller if batch > 1 else ''}"
        "--trainer.grad_checkpointing true, --trainer.precision bf16-mixed or a smaller --img_size"
    )


def _worker_died(text: str, folder: Path | None) -> str:
    reason = re.search(r"DataLoader worker.*?(?:signal: .*?|unexpectedly)(?=\.|$)", text)
    if "shared memory" in text or "Bus error" in text:
        remedy = "shared memory (/dev/shm) has run out: give it more, or use fewer --workers"
    else:
        remedy = "if memory ran out, use fewer --workers or a smaller --batch_size"
    return f"{reason[0] if reason else 'DataLoader worker has died'}; {remedy}; {how_to_go_on(folder)}"
