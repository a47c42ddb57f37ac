"""Processes of one training that look after each other."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.distributed import Store
from torch.distributed.distributed_c10d import _get_default_store
from typing_extensions import override

BEAT = 2.0
"""Seconds between two signs of life."""
SILENCE = 25.0
"""Seconds without one after which a process counts as dead."""
OVER = b"over"
"""The sign of a process that has ended as it should."""


class Watch(threading.Thread):
    """Ends this process once another of the training has died; it could otherwise wait for the other one for ever.

    Each process writes signs of life into the store that the processes met in, and watches those of the next one.
    Whoever finds the next one dead tells the user, and tells the others through the store.

    Args:
        store: The store, for this thread alone.
        rank: This process.
        world_size: All processes.
        advice: Gives what the user is to do.
    """

    def __init__(self, store: Store, rank: int, world_size: int, advice: Callable[[], str]) -> None:
        super().__init__(daemon=True, name="msgformer-watch")
        self.store, self.rank, self.world_size, self.advice = store, rank, world_size, advice
        self.next = (rank + 1) % world_size
        self.over = threading.Event()

    @override
    def run(self) -> None:
        """Watch until this process's part is over."""
        beats, seen, heard = 0, None, time.monotonic()
        while not self.over.wait(BEAT if beats else 0):
            beats += 1
            try:
                self.store.set(f"alive/{self.rank}", str(beats))
                if self.store.check(["dead"]):
                    self._end()
                sign = self._sign_of_next()
            except RuntimeError:  # the store lives in the first process, or in what started it
                if not self.over.is_set():
                    self._end(f"process 1 of {self.world_size}" if self.rank == 1 else None)
                return
            if sign != seen or sign == OVER:
                seen, heard = sign, time.monotonic()
            elif time.monotonic() - heard > SILENCE:
                self.store.set("dead", str(self.next))
                self._end(f"process {self.next + 1} of {self.world_size}")

    def _sign_of_next(self) -> bytes | None:
        """What the next process wrote last; None before it wrote anything."""
        if self.store.check([f"over/{self.next}"]):
            return OVER
        return self.store.get(f"alive/{self.next}") if self.store.check([f"alive/{self.next}"]) else None

    def _end(self, dead: str | None = None) -> None:
        if dead is not None:
            message = f"{dead} has died (killed, crashed, or out of memory); {self.advice()}"
            print(f"msgformer: error: {message}", file=sys.stderr, flush=True)
        with suppress(RuntimeError):
            self.store.set(f"over/{self.rank}", "")
        os._exit(1)  # the main thread may wait for the dead one, and can't be woken

    def leave(self, *, failed: bool) -> None:
        """Take leave of the others; those end too if this process has ``failed``, which the user is told by itself."""
        self.over.set()
        with suppress(RuntimeError):
            if failed:
                self.store.set("dead", str(self.rank))
            self.store.set(f"over/{self.rank}", "")
            if self.rank == 0:  # with which the store goes, so that the others would take this one for dead
                others = [f"over/{rank}" for rank in range(1, self.world_size)]
                self.store.wait(others, timedelta(seconds=3 * BEAT if failed else SILENCE))


class Watching(Callback):
    """Has the processes of a training watch each other, where there are several.

    Args:
        advice: Gives what the user is to do once a process has died.
    """

    def __init__(self, advice: Callable[[], str]) -> None:
        self.advice = advice
        self.watch: Watch | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin."""
        if trainer.world_size > 1 and self.watch is None:
            store = _get_default_store().clone()
            self.watch = Watch(store, trainer.global_rank, trainer.world_size, self.advice)
            self.watch.start()

    def leave(self, *, failed: bool) -> None:
        """This process's part is over; see :meth:`Watch.leave`."""
        if self.watch is not None:
            self.watch.leave(failed=failed)

    def await_verdict(self) -> None:
        """Wait for the watch to end this process, where a connection to another one has broken; return if it won't."""
        if self.watch is not None:
            self.watch.join(SILENCE + 4 * BEAT)
