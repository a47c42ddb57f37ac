import asyncio
import http.server
import io
import threading
import time

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from msgformer.data.files import urls
from msgformer.data.files.image_inputs import open_inputs
from msgformer.data.files.inputs import check_inputs, find_inputs
from msgformer.errors import UserError


class _Handler(http.server.BaseHTTPRequestHandler):
    """An HTTP handler with an image and other responses."""

    image = b""
    agents: list[str] = []  # noqa: RUF012  (shared on purpose)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.agents.append(self.headers["User-Agent"])
        path = self.path.partition("?")[0].removeprefix("/")
        if path in self.redirects:
            self.answer(302, b"", Location=self.redirects[path])
        elif path == "photo":
            self.answer(200, self.image)
        elif path == "page":
            self.answer(200, b"<!doctype html>", **{"Content-Type": "text/html; charset=utf-8"})
        elif path == "text":
            self.answer(200, b"hello")
        elif path == "large":
            self.answer(200, b"", **{"Content-Length": "1000000000"})
        elif path == "cut":
            self.answer(200, self.image[:50], **{"Content-Length": str(len(self.image))})
            self.close_connection = True
        elif path in ("endless", "trickle", "stuck"):
            self.stream(path)
        else:
            self.answer(404 if path == "gone" else 503, b"")

    @property
    def redirects(self):
        return {
            "moved": "/photo",
            "file": "file:///etc/hostname",
            "ftp": "ftp://127.0.0.1/a",
            "loop": "/loop",
        }

    def answer(self, status, content, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def stream(self, path):
        """Send bytes without end: fast, slowly, or none after the header."""
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(10_000):
                self.wfile.write(bytes(1 if path == "trickle" else 100_000))
                self.wfile.flush()
                time.sleep({"endless": 0, "trickle": 0.05, "stuck": 5}[path])
        except OSError:
            pass  # the client has left


@pytest.fixture
def server():
    encoded = io.BytesIO()
    Image.linear_gradient("L").resize((9, 6)).convert("RGB").save(encoded, "PNG")
    _Handler.image = encoded.getvalue()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def short_limits(monkeypatch):
    monkeypatch.setattr(urls, "STEP_TIMEOUT", 0.5)
    monkeypatch.setattr(urls, "TOTAL_TIMEOUT", 1.0)
    monkeypatch.setattr(urls, "MAX_BYTES", 1_000_000)


def test_an_image_at_a_url_has_the_pixels_of_its_file(server):
    expected = np.asarray(Image.open(io.BytesIO(_Handler.image)))
    for path in ("photo", "photo?size=[1]*", "moved"):
        inputs = open_inputs(f"{server}/{path}")
        assert (inputs.single, inputs.total) == (True, 1)
        (item,) = inputs.items
        assert item.name == f"{server}/{path}"
        assert np.array_equal(np.asarray(item.load()), expected)
    assert _Handler.agents[-1].startswith("msgformer/")


def test_urls_among_other_images(server, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(_Handler.image)
    url = f"{server}/photo"
    assert [item.name for item in open_inputs([url, path, url]).items] == [url, str(path), url]
    assert open_inputs([url]).single is False
    listed = io.BytesIO(f"{url}\n{path}\n".encode())
    assert [item.load().size for item in find_inputs(["-"], listed)] == [(9, 6), (9, 6)]


def test_a_url_is_downloaded_inside_an_event_loop(server):
    async def load():
        return next(open_inputs(f"{server}/photo").items).load().size

    assert asyncio.run(load()) == (9, 6)


class _Sizes:
    def __getitem__(self, item):
        return item.load().size


def test_urls_are_downloaded_by_the_workers_of_a_loader(server):
    items = open_inputs([f"{server}/photo"] * 6).items
    loader = DataLoader(_Sizes(), 2, sampler=items, num_workers=2, collate_fn=list)
    assert [size for batch in loader for size in batch] == [(9, 6)] * 6


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone", r" \(HTTP 404 Not Found\); check the address$"),
        ("broken", r" \(HTTP 503 Service Unavailable\); try again later or download it yourself$"),
        ("page", ": it is a web page, not an image; give the address of the image itself$"),
        ("text", r" \(not an image\); replace or remove it$"),
        ("file", r": it redirects to file:///etc/hostname, which is not http\(s\); give another address$"),
        ("ftp", r": it redirects to ftp://127\.0\.0\.1/a, which is not http\(s\); give another address$"),
        ("loop", r": more than 5 redirects; give the address that they lead to$"),
        ("cut", r" \(.*\); check the address or download it yourself$"),
        ("large", r": it is larger than 1,000,000 bytes; download it and give its path$"),
        ("endless", r": it is larger than 1,000,000 bytes; download it and give its path$"),
        ("trickle", r": the server is too slow \(0\.5 s per step, 1 s in all\); download it and give its path$"),
        ("stuck", r": the server is too slow \(0\.5 s per step, 1 s in all\); download it and give its path$"),
    ],
)
def test_failed_downloads_give_one_line(server, short_limits, path, message):
    start = time.monotonic()
    (item,) = open_inputs(f"{server}/{path}").items
    with pytest.raises(UserError, match=f"^can't read image {server}/{path}{message}") as caught:
        item.load()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 4


def test_an_unreachable_host_is_refused():
    with pytest.raises(UserError, match=r"can't read image http://127\.0\.0\.1:1/a\.png \(.*\); check the address or"):
        next(open_inputs("http://127.0.0.1:1/a.png").items).load()


def test_a_name_without_an_address(monkeypatch):
    def fail(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(UserError, match=r"http://photos\.invalid/a: there is no host of that name; check the"):
        next(open_inputs("http://photos.invalid/a").items).load()


def test_a_host_lookup_that_never_ends(monkeypatch, short_limits):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(6))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"http://photos\.invalid/a: the server is too slow"):
        next(open_inputs("http://photos.invalid/a").items).load()
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/a.png", "images: ftp://host/a.png: only http and https are supported; download the file and give"),
        ("file:///etc/a.png", "images: file:///etc/a.png: only http and https are supported"),
        ("s3://bucket/a.png", "images: s3://bucket/a.png: only http and https are supported"),
        ("http:/host/a.png", "images: http:/host/a.png: a slash is missing after 'http:'; give URLs as strings"),
        ("http:///a.png", r"images: http:///a.png is not a valid URL; expected http\(s\)://host/path"),
        ("http://host:port/a.png", "images: http://host:port/a.png is not a valid URL"),
        ("http://[::1/a.png", "is not a valid URL"),
        (
            "https://host/a.mp4?x=1",
            "images: https://host/a.mp4.*: only images can be read from URLs; download it",
        ),
        ("https://host/a.tar", "images: https://host/a.tar: only images can be read from URLs"),
    ],
)
def test_urls_of_other_kinds_are_refused_without_a_connection(url, message):
    for check in (open_inputs, lambda url: check_inputs([url]), lambda url: open_inputs([url])):
        with pytest.raises(UserError, match=message):
            check(url)


def test_a_path_that_looks_like_a_url_is_a_path_if_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set:").mkdir()
    Image.new("RGB", (2, 2)).save("set:/a.png")
    assert next(open_inputs("set:/a.png").items).load().size == (2, 2)
