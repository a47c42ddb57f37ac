import functools
import http.server
import threading

import pytest

from data.tar_files import write_shard
from msgformer.data.classification.tar_sets import open_tar_set
from msgformer.data.files.locations import Location
from msgformer.data.files.remote import fetch_shards
from msgformer.errors import UserError
from msgformer.utils.cache import cache_folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A web server of a folder, and an empty cache folder."""
    monkeypatch.setenv("MSGFORMER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_remote_shards_are_fetched_once_and_read_as_local_ones(served, capsys):
    folder, url = served
    for number in range(2):
        write_shard(folder / f"set-train-{number}.tar", {f"{number}a": 0, f"{number}b": 1})
    location = Location("wds", f"{url}/set-train-{{0..1}}.tar")
    train, _ = open_tar_set(location)
    assert train.labels == (0, 1, 0, 1)
    assert train.load(3).size == (12, 10)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" to ")[0] for line in lines] == ["fetched shard 1 of 2", "fetched shard 2 of 2"]
    for shard in folder.iterdir():
        shard.unlink()
    again, _ = open_tar_set(location)
    assert [again.name(index) for index in range(4)] == [train.name(index) for index in range(4)]
    assert capsys.readouterr().err == ""


def test_a_shard_that_cannot_be_fetched_is_named_and_leaves_nothing(served):
    _, url = served
    with pytest.raises(UserError, match=rf"can't fetch {url}/gone\.tar to .*cache"):
        fetch_shards([f"{url}/gone.tar"])
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


def test_an_unknown_protocol_is_named(served):
    with pytest.raises(UserError, match=r"can't fetch nothing://x/a\.tar"):
        fetch_shards(["nothing://x/a.tar"])


def test_the_cache_is_where_the_system_wants_it(monkeypatch, tmp_path):
    monkeypatch.delenv("MSGFORMER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "msgformer"
