"""A training from its parts to its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers import subprocess_script

from msgformer.config.training_options import TrainerOptions
from msgformer.training.failures import explain, how_to_go_on, lost_connection
from msgformer.training.module import Training
from msgformer.training.run_files import RunFiles
from msgformer.training.stopping import StoppedError, Stopping
from msgformer.training.tracking import Tracking
from msgformer.training.trainer import build_trainer
from msgformer.training.watch import Watching


class Run:
    """The loops around a task: Lightning's trainer, with what saves, stops and watches.

    Args:
        options: The machine, and how steps run on it.
        files: What is left in the run folder.
        epochs: How many, cool-down included.
        callbacks: The user's callbacks. They run first, so that a checkpoint holds their states after the same step.

    Attributes:
        trainer: Tells how many processes there are, which the data and the module must know.
    """

    def __init__(
        self, options: TrainerOptions, files: RunFiles, epochs: int, callbacks: Sequence[Callback] = ()
    ) -> None:
        self.files = files
        self.watching = Watching(lambda: how_to_go_on(files.folder))
        all_callbacks = [*callbacks, self.watching, Stopping(files, options.checkpoint_minutes), files]
        if options.trackers:
            tracking = Tracking(options.trackers, files)
            files.reports.append(tracking.report)
            all_callbacks.append(tracking)
        files.patience = options.patience
        self.trainer: Trainer = build_trainer(
            options, callbacks=all_callbacks, max_epochs=epochs, num_sanity_val_steps=0
        )

    def fit(self, module: Training, data: LightningDataModule, checkpoint: Path | None) -> None:
        """Train to the end.

        Args:
            module: The task.
            data: Its batches.
            checkpoint: What to go on from, as ``find_resumable`` gives it; None: begin.

        Raises:
            UserError: the data, the loss or the memory doesn't allow to go on; the message says what to do.
            JobError: likewise the disk, or a process that died.
            KeyboardInterrupt: Ctrl-C; all is saved then, and the user is told how to go on.
            SystemExit: another signal, likewise.
        """
        failed = True
        try:
            with _without_observer():
                self.trainer.fit(module, data, ckpt_path=checkpoint)
            failed = False
        except StoppedError as stopped:
            failed = False  # all processes have stopped
            if self.trainer.is_global_zero:
                print(f"stopped {stopped}; {how_to_go_on(self.files.folder)}", file=sys.stderr, flush=True)
            raise _ending(stopped.number) from None
        except SystemExit as leaving:
            if isinstance(leaving.__context__, KeyboardInterrupt):  # which Lightning turns into sys.exit(1)
                raise KeyboardInterrupt from leaving
            raise
        except Exception as error:
            if lost_connection(error):
                self.watching.await_verdict()
            clear = explain(error, self.files.folder, self.trainer, module)
            if clear is None:
                raise
            raise clear from error
        finally:
            self.watching.leave(failed=failed)


def _ending(number: int) -> BaseException:
    """What a signal ends a program with: Ctrl-C an exception, others a status as in a shell."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def _without_observer() -> Iterator[None]:
    """Without the thread that kills the first process, and with it any message, once another one has ended."""
    launch = subprocess_script._launch_process_observer
    subprocess_script._launch_process_observer = lambda child_processes: None  # noqa: ARG005
    try:
        yield
    finally:
        subprocess_script._launch_process_observer = launch
