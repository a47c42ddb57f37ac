"""Detection of dead processes in a distributed training."""

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

HEARTBEAT_SECONDS = 2.0
"""Seconds between two heartbeats."""
TIMEOUT_SECONDS = 25.0
"""Seconds without a heartbeat after which a process is considered dead."""
FINISHED = b"finished"
"""State of a process that has ended regularly."""


class RankWatchdog(threading.Thread):
    """Ends this process when another process of the training has died, instead of waiting for it forever.

    Each process writes heartbeats to the distributed store, and checks those of the next rank. The process that
    detects a death reports it to the user and, through the store, to the other processes.

    Args:
        store: Connection to the store that only this thread uses.
        rank: Rank of this process.
        world_size: Number of processes.
        advice: Returns what the user should do next, for the error message.
    """

    def __init__(self, store: Store, rank: int, world_size: int, advice: Callable[[], str]) -> None:
        super().__init__(daemon=True, name="msgformer-watchdog")
        self.store, self.rank, self.world_size, self.advice = store, rank, world_size, advice
        self.next = (rank + 1) % world_size
        self.closed = threading.Event()

    @override
    def run(self) -> None:
        """Send and check heartbeats until `close` is called."""
        count, last, last_time = 0, None, time.monotonic()
        while not self.closed.wait(HEARTBEAT_SECONDS if count else 0):
            count += 1
            try:
                self.store.set(f"alive/{self.rank}", str(count))
                if self.store.check(["dead"]):
                    self._exit()
                heartbeat = self._next_heartbeat()
            except RuntimeError:  # the store lives in the first process, or in the launcher
                if not self.closed.is_set():
                    self._exit(f"process 1 of {self.world_size}" if self.rank == 1 else None)
                return
            if heartbeat != last or heartbeat == FINISHED:
                last, last_time = heartbeat, time.monotonic()
            elif time.monotonic() - last_time > TIMEOUT_SECONDS:
                self.store.set("dead", str(self.next))
                self._exit(f"process {self.next + 1} of {self.world_size}")

    def _next_heartbeat(self) -> bytes | None:
        """Return the latest heartbeat of the next rank; None before the first one."""
        if self.store.check([f"finished/{self.next}"]):
            return FINISHED
        return self.store.get(f"alive/{self.next}") if self.store.check([f"alive/{self.next}"]) else None

    def _exit(self, dead: str | None = None) -> None:
        if dead is not None:
            message = f"{dead} has died (killed, crashed, or out of memory); {self.advice()}"
            print(f"msgformer: error: {message}", file=sys.stderr, flush=True)
        with suppress(RuntimeError):
            self.store.set(f"finished/{self.rank}", "")
        os._exit(1)  # the main thread may be blocked in a collective with the dead process

    def close(self, *, failed: bool) -> None:
        """Stop watching.

        Args:
            failed: Whether this process ends with an error. The other processes then end too, without a message of
                their own.
        """
        self.closed.set()
        with suppress(RuntimeError):
            if failed:
                self.store.set("dead", str(self.rank))
            self.store.set(f"finished/{self.rank}", "")
            if self.rank == 0:  # the store ends with this process, which the others would take for its death
                others = [f"finished/{rank}" for rank in range(1, self.world_size)]
                self.store.wait(others, timedelta(seconds=3 * HEARTBEAT_SECONDS if failed else TIMEOUT_SECONDS))


class WatchdogCallback(Callback):
    """Runs a `RankWatchdog` in each process of a distributed training.

    Args:
        advice: Returns what the user should do after a process has died.
    """

    def __init__(self, advice: Callable[[], str]) -> None:
        self.advice = advice
        self.watchdog: RankWatchdog | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the watchdog if there are several processes.

        Args:
            trainer: Lightning's trainer.
            pl_module: Unused.
            stage: Unused.
        """
        if trainer.world_size > 1 and self.watchdog is None:
            # PyTorch has no public name for its store; a second one of our own would need another open port.
            store = _get_default_store().clone()
            self.watchdog = RankWatchdog(store, trainer.global_rank, trainer.world_size, self.advice)
            self.watchdog.start()

    def close(self, *, failed: bool) -> None:
        """Stop the watchdog; see `RankWatchdog.close`."""
        if self.watchdog is not None:
            self.watchdog.close(failed=failed)

    def await_verdict(self) -> None:
        """Wait until the watchdog has had time to end this process, after a connection to another one has broken."""
        if self.watchdog is not None:
            self.watchdog.join(TIMEOUT_SECONDS + 4 * HEARTBEAT_SECONDS)
