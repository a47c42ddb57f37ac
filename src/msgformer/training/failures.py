"""Errors that end a training, explained in one line that says what to do next."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import torch
from lightning import Trainer

from msgformer.checkpoints.model_location import LAST
from msgformer.errors import JobError, UserError
from msgformer.training.module import NotFiniteError, Training

WRITE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Errors of writing a file: disk or quota full, file too large, read-only file system, and failing device."""

OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|bad_alloc|bad allocation|Failed to allocate memory|memory isn't enough"  # messages of C++ libraries
)
LOST_CONNECTION = re.compile(r"Connection (closed|reset)|Broken pipe|gloo|NCCL|TCPStore|Timed out", re.IGNORECASE)


def resume_hint(folder: Path | None) -> str:
    """Return what is saved of a run, and the command that resumes it.

    Args:
        folder: Run folder; None if the run hasn't started.
    """
    if folder is None:
        return "start it again"
    if (folder / LAST).is_file():
        return f"progress is saved; resume with 'msgformer train --resume {folder}'"
    return f"nothing is saved yet; 'msgformer train --resume {folder}' starts over"


def explain_failure(error: Exception, folder: Path | None, trainer: Trainer, module: Training) -> Exception | None:
    """Convert an error of a training to one with a single line that says what to do next.

    Args:
        error: The error.
        folder: Run folder; None if the run hasn't started.
        trainer: Lightning's trainer.
        module: The trained Lightning module.

    Returns:
        The new error; None to raise the original one.
    """
    if isinstance(error, NotFiniteError):
        return None  # it names the remedy itself, and resuming would fail again
    if isinstance(error, OSError) and error.errno in WRITE_ERRORS:
        where = error.filename or folder
        reason = (error.strerror or "").lower()
        return JobError(f"{where} can't be written ({reason}); make room; {resume_hint(folder)}")
    if isinstance(error, UserError):
        has_checkpoint = folder is not None and (folder / LAST).is_file()
        return UserError(f"{error}; {resume_hint(folder)}") if has_checkpoint else None
    text = " ".join(str(error).split())
    if is_out_of_memory(error):
        return UserError(_out_of_memory(trainer, module))
    # A worker that dies while it sends a batch causes a broken pipe.
    if "DataLoader worker" in text or isinstance(error, ConnectionError | EOFError):
        return JobError(_worker_died(text, folder))
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of the host or of an accelerator is exhausted."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(OUT_OF_MEMORY.search(str(error)))


def is_lost_connection(error: Exception) -> bool:
    """Return whether an error may be due to the death of another process of the training."""
    return isinstance(error, RuntimeError) and LOST_CONNECTION.search(str(error)) is not None


def _out_of_memory(trainer: Trainer, module: Training) -> str:
    accumulate = trainer.accumulate_grad_batches
    batch = module.plan.total_batch // (trainer.world_size * accumulate)
    smaller = f"--batch_size {batch // 2} --trainer.accumulate_grad_batches {2 * accumulate} (the same total batch), "
    return (
        f"out of memory on {module.device} with batches of {batch}; use {smaller if batch > 1 else ''}"
        "--trainer.grad_checkpointing true, --trainer.precision bf16-mixed or a smaller --img_size"
    )


def _worker_died(text: str, folder: Path | None) -> str:
    reason = re.search(r"DataLoader worker.*?(?:signal: .*?|unexpectedly)(?=\.|$)", text)
    if "shared memory" in text or "Bus error" in text:
        remedy = "shared memory (/dev/shm) is exhausted: enlarge it, or use fewer --workers"
    else:
        remedy = "if memory ran out, use fewer --workers or a smaller --batch_size"
    return f"{reason[0] if reason else 'DataLoader worker has died'}; {remedy}; {resume_hint(folder)}"
