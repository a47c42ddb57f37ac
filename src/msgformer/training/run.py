"""Execution of a training by Lightning's trainer, with checkpoints, stopping and error messages."""

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
from msgformer.training.failures import explain_failure, is_lost_connection, resume_hint
from msgformer.training.module import Training
from msgformer.training.run_files import RunFiles
from msgformer.training.stopping import StopOnSignal, StoppedError
from msgformer.training.tracking import TrackerCallback
from msgformer.training.trainer import build_trainer
from msgformer.training.watch import WatchdogCallback


class Run:
    """Lightning's trainer with the callbacks of this package.

    Args:
        options: Options of the trainer.
        files: Writes the run folder.
        epochs: Number of epochs, including the cool-down.
        callbacks: The user's callbacks. They run first, so that a checkpoint holds their states after the same step.

    Attributes:
        trainer: The trainer, which knows the number of processes.
    """

    def __init__(
        self, options: TrainerOptions, files: RunFiles, epochs: int, callbacks: Sequence[Callback] = ()
    ) -> None:
        self.files = files
        self.watchdog = WatchdogCallback(lambda: resume_hint(files.folder))
        all_callbacks = [*callbacks, self.watchdog, StopOnSignal(files, options.checkpoint_minutes), files]
        if options.trackers:
            tracker = TrackerCallback(options.trackers, files)
            files.reports.append(tracker.report)
            all_callbacks.append(tracker)
        files.patience = options.patience
        self.trainer: Trainer = build_trainer(
            options, callbacks=all_callbacks, max_epochs=epochs, num_sanity_val_steps=0
        )

    def fit(self, module: Training, data: LightningDataModule, checkpoint: Path | None) -> None:
        """Train until the last epoch.

        Args:
            module: Lightning module of the task.
            data: Data module of the task.
            checkpoint: Checkpoint to resume from, as of `find_resumable`; None starts from the beginning.

        Raises:
            UserError: The data, the loss or the memory prevents further training; the message says what to do.
            JobError: The disk is full, or a process died; the message says what to do.
            KeyboardInterrupt: Ctrl-C stopped the training; the state is saved, and the resume command was printed.
            SystemExit: Another signal stopped the training; see `KeyboardInterrupt`.
        """
        failed = True
        try:
            with _without_observer():
                self.trainer.fit(module, data, ckpt_path=checkpoint)
            failed = False
        except StoppedError as stopped:
            failed = False  # all processes have stopped
            if self.trainer.is_global_zero:
                print(f"stopped {stopped}; {resume_hint(self.files.folder)}", file=sys.stderr, flush=True)
            raise _exit_exception(stopped.number) from None
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # which Lightning turns into sys.exit(1)
                raise KeyboardInterrupt from error
            raise
        except Exception as error:
            if is_lost_connection(error):
                self.watchdog.await_verdict()
            explained = explain_failure(error, self.files.folder, self.trainer, module)
            if explained is None:
                raise
            raise explained from error
        finally:
            self.watchdog.close(failed=failed)


def _exit_exception(number: int) -> BaseException:
    """Return the exception that ends the program after a signal: for all but Ctrl-C, with a shell's exit status."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def _without_observer() -> Iterator[None]:
    """Disable Lightning's thread that kills the first process, before it can print, when another one has ended.

    Lightning has no option for this, and its launchers are private classes.
    """
    launch = subprocess_script._launch_process_observer
    subprocess_script._launch_process_observer = lambda child_processes: None  # noqa: ARG005
    try:
        yield
    finally:
        subprocess_script._launch_process_observer = launch
