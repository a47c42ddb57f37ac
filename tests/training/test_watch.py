from types import SimpleNamespace

import pytest
from torch.distributed import HashStore

from msgformer.training import watch
from msgformer.training.watch import RankWatchdog, WatchdogCallback


class ExitedError(Exception):
    """The process would have ended."""


@pytest.fixture
def fast(monkeypatch):
    """Wait only milliseconds, and raise an error instead of ending the process."""

    def raise_error(status):
        assert status == 1
        raise ExitedError

    monkeypatch.setattr(watch, "HEARTBEAT_SECONDS", 0.001)
    monkeypatch.setattr(watch, "TIMEOUT_SECONDS", 0.02)
    monkeypatch.setattr(watch.os, "_exit", raise_error)


def watchdog(store, rank=0, world_size=3):
    return RankWatchdog(store, rank, world_size, lambda: "start it again")


def test_a_process_without_heartbeats_is_reported(fast, capsys):
    store = HashStore()
    store.set("alive/1", "7")
    with pytest.raises(ExitedError):
        watchdog(store).run()
    assert store.get("dead") == b"1"
    assert "process 2 of 3 has died (killed, crashed, or out of memory); start it again" in capsys.readouterr().err


def test_the_last_rank_watches_the_first(fast, capsys):
    with pytest.raises(ExitedError):
        watchdog(HashStore(), rank=2).run()
    assert "process 1 of 3 has died" in capsys.readouterr().err


def test_a_death_that_another_process_reported_ends_silently(fast, capsys):
    store = HashStore()
    store.set("dead", "2")
    with pytest.raises(ExitedError):
        watchdog(store).run()
    assert capsys.readouterr().err == ""


def test_a_finished_process_is_not_reported(fast):
    store = HashStore()
    store.set("finished/1", "")
    dog = watchdog(store)
    dog.start()
    dog.join(0.1)
    assert dog.is_alive()
    dog.closed.set()
    dog.join(5)
    assert not store.check(["dead"])


@pytest.mark.parametrize("failed", [False, True])
def test_closing_tells_the_other_processes(failed):
    store = HashStore()
    watchdog(store, rank=1).close(failed=failed)
    assert store.check(["finished/1"])
    assert store.check(["dead"]) is failed


def test_a_training_in_one_process_has_no_watchdog():
    callback = WatchdogCallback(lambda: "")
    callback.setup(SimpleNamespace(world_size=1), None, "fit")
    assert callback.watchdog is None
    callback.close(failed=True)
    callback.await_verdict()
