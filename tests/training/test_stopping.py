import signal
from types import SimpleNamespace

import pytest

from msgformer.training import stopping
from msgformer.training.stopping import StopOnSignal, StoppedError


class Files:
    """Counts checkpoints."""

    last_saved = 0.0
    count = 0

    def save_last(self, _trainer):
        self.count += 1


def trainer(accumulate=1, last=False):
    return SimpleNamespace(
        accumulate_grad_batches=accumulate,
        is_last_batch=last,
        world_size=1,
        current_epoch=1,
        num_training_batches=9,
        fit_loop=SimpleNamespace(batch_idx=3),
    )


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def stop(files, monkeypatch):
    monkeypatch.setattr(stopping.time, "monotonic", lambda: 100.0)
    return StopOnSignal(files, minutes=2.0)


def end_batch(stop, trainer, index=3):
    stop.on_train_batch_end(trainer, None, None, None, index)


def test_a_signal_stops_after_the_step_with_a_checkpoint(stop, files):
    stop._handle(signal.SIGTERM, None)
    with pytest.raises(StoppedError, match=r"^in epoch 2 after batch 4 of 9$") as error:
        end_batch(stop, trainer())
    assert (error.value.number, files.count) == (signal.SIGTERM, 1)


def test_a_signal_waits_for_accumulated_gradients(stop, files):
    stop._handle(signal.SIGTERM, None)
    end_batch(stop, trainer(accumulate=3), index=3)
    assert files.count == 0
    with pytest.raises(StoppedError):
        end_batch(stop, trainer(accumulate=3), index=5)
    with pytest.raises(StoppedError):
        end_batch(stop, trainer(accumulate=3, last=True), index=3)


@pytest.mark.parametrize(("last_saved", "count"), [(-21.0, 1), (-20.0, 1), (-19.0, 0)])
def test_checkpoints_are_saved_at_the_interval(stop, files, last_saved, count):
    files.last_saved = last_saved
    end_batch(stop, trainer())
    assert files.count == count


def test_a_second_interrupt_ends_at_once(stop, capfd):
    stop._handle(signal.SIGINT, None)
    assert "press Ctrl-C again" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        stop._handle(signal.SIGINT, None)


def test_a_signal_stops_the_validation(stop, files):
    stop._min_val_batches = 2
    stop.on_validation_batch_end(trainer(), None, None, None, 0)
    stop._handle(signal.SIGTERM, None)
    stop.on_validation_batch_end(trainer(), None, None, None, 2)  # other processes may have ended their validation
    assert files.count == 0
    with pytest.raises(StoppedError, match="in its validation"):
        stop.on_validation_batch_end(trainer(), None, None, None, 1)
    assert files.count == 1
