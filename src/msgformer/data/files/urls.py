"""Images at http(s) addresses, downloaded with limits on time and size."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    import aiohttp
    from PIL import Image

    from msgformer.data.files.value_range import ValueRange

SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")
"""Start of a URL, but not a Windows drive. One slash is enough, since `pathlib.Path` reduces two slashes to one."""

STEP_TIMEOUT = 10.0
"""Seconds to connect, and to wait for the next bytes."""

TOTAL_TIMEOUT = 60.0
"""Seconds for a whole download, redirects included."""

MAX_BYTES = 100_000_000
MAX_REDIRECTS = 5
CHUNK = 1 << 16


class UrlInput(NamedTuple):
    """An image at an http(s) address, downloaded when it is loaded.

    Attributes:
        name: The URL.
    """

    name: str

    @property
    def carries_pixels(self) -> bool:
        """Return False, since the worker downloads the image."""
        return False

    def reference(self) -> UrlInput:
        """Return the input itself, which carries no pixels."""
        return self

    def load(self, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Download and decode the image in RGB.

        Args:
            min_side: Minimum side in pixels at which a JPEG may be decoded; 0 for its full size only.
            value_range: Values of black and white in images of more than 8 bits, as of `read_image`.

        Raises:
            UserError: The URL can't be downloaded or is not an image; the message names the URL.
        """
        from msgformer.data.files.images import read_image

        return read_image(io.BytesIO(download(self.name)), self.name, min_side, value_range=value_range)


def is_url(place: str) -> bool:
    """Return whether a string is a URL of any scheme rather than a path."""
    return SCHEME.match(place) is not None and not Path(place).exists()


def check_url(url: str) -> None:
    """Check the syntax of a URL without connecting.

    Raises:
        UserError: It is not an http(s) URL.
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise UserError(f"images: {shown(url)}: only http and https are supported; download the file and give its path")
    if not url[len(scheme) :].startswith("://"):
        raise UserError(
            f"images: {shown(url)}: a slash is missing after '{scheme}:'; give URLs as strings, not as Path"
        )
    try:
        host = urlsplit(url).hostname
        _ = urlsplit(url).port
    except ValueError:
        host = None
    if not host:
        raise UserError(f"images: {shown(url)} is not a valid URL; expected http(s)://host/path")


def download(url: str) -> bytes:
    """Download the content of a URL; redirects are followed to http(s) only.

    Raises:
        UserError: The download exceeds `TOTAL_TIMEOUT` or `MAX_BYTES`, fails, or is a web page; the message names the
            URL.
    """
    import asyncio

    check_url(url)
    result: list[bytes | BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(_download(url)))
        except BaseException as error:  # passed to the caller's thread
            result.append(error)

    # A separate thread, because the caller's may already run an event loop (Jupyter). A host name lookup can't be
    # interrupted, so the thread is abandoned at the time limit.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(TOTAL_TIMEOUT + 1)
    if not result:
        raise _failure(url, TimeoutError())
    if isinstance(result[0], BaseException):
        raise _failure(url, result[0]) from result[0]
    return result[0]


async def _download(url: str) -> bytes:
    from importlib.metadata import version

    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TOTAL_TIMEOUT, connect=STEP_TIMEOUT, sock_read=STEP_TIMEOUT)
    headers = {
        "User-Agent": f"msgformer/{version('msgformer')}",
        "Accept": "image/*,*/*;q=0.5",
        "Accept-Encoding": "identity",  # a small compressed response could expand beyond the limit
    }
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=True, auto_decompress=False) as session,
        session.get(url, max_redirects=MAX_REDIRECTS) as response,
    ):
        return await _read(response, url)


async def _read(response: aiohttp.ClientResponse, url: str) -> bytes:
    if response.status != 200:
        remedy = "check the address" if response.status in (404, 410) else "try again later or download it yourself"
        raise UserError(f"{_subject(url)} (HTTP {response.status} {shown(response.reason or '')}); {remedy}")
    if response.content_type in ("text/html", "application/xhtml+xml"):
        raise UserError(f"{_subject(url)}: it is a web page, not an image; give the address of the image itself")
    content = bytearray()
    if (response.content_length or 0) <= MAX_BYTES:
        async for chunk in response.content.iter_chunked(CHUNK):
            content += chunk
            if len(content) > MAX_BYTES:
                break
        else:
            return bytes(content)
    raise UserError(f"{_subject(url)}: it is larger than {MAX_BYTES:,} bytes; download it and give its path")


def _subject(url: str) -> str:
    return f"can't read image {shown(url)}"


def _failure(url: str, error: BaseException) -> BaseException:
    """Return the UserError for a download error; a UserError or an interruption is returned unchanged."""
    import aiohttp

    if isinstance(error, UserError) or not isinstance(error, Exception):
        return error
    if isinstance(error, aiohttp.TooManyRedirects):
        return UserError(f"{_subject(url)}: more than {MAX_REDIRECTS} redirects; give the address that they lead to")
    if isinstance(error, aiohttp.RedirectClientError):
        return UserError(f"{_subject(url)}: it redirects to {shown(error)}, which is not http(s); give another address")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UserError(f"{_subject(url)}: there is no host of that name; check the address and the network")
    if isinstance(error, TimeoutError):
        limits = f"{STEP_TIMEOUT:g} s per step, {TOTAL_TIMEOUT:g} s in all"
        return UserError(f"{_subject(url)}: the server is too slow ({limits}); download it and give its path")
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{_subject(url)} ({shown(reason)[:200]}); check the address or download it yourself")
