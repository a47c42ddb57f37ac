"""Open pages in headless Chromium, if it is installed."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1400,1000"),
    *("--virtual-time-budget=60000", "--enable-logging=stderr", "--v=0"),
]
ADVICE = "willReadFrequently"  # about the speed of what only the tests do: reading colors from a drawing

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

# Helper functions for scripts that run after the page was drawn: pointer, keys and pixels.
HELPERS = """
const pause = () => new Promise((go) => setTimeout(go, 20));
const page = () =>
  ({...document.body.dataset, hash: location.hash, text: document.getElementById("chosen").textContent});
const toDataUrl = (name) => document.getElementById(name).toDataURL();
const key = (name, word) =>
  document.getElementById(name).dispatchEvent(new KeyboardEvent("keydown", {key: word, bubbles: true}));
const at = (name, y, x, kind = "pointermove") => {
  const canvas = document.getElementById(name), box = canvas.getBoundingClientRect();
  const [height, width] = shownExtent(data.images[state.image]);
  const place = {clientX: box.left + x / width * box.width, clientY: box.top + y / height * box.height, bubbles: true};
  canvas.dispatchEvent(new (kind === "click" ? MouseEvent : PointerEvent)(kind, place));
};
const color = (name, y, x) => {
  const canvas = document.getElementById(name), [height, width] = shownExtent(data.images[state.image]);
  const place = [Math.round(x / width * canvas.width), Math.round(y / height * canvas.height)];
  return [...canvas.getContext("2d").getImageData(...place, 1, 1).data.slice(0, 3)];
};
(async () => {
  while (document.body.dataset.ready !== "yes") await pause();
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(await (async () => { %s })());
  document.body.append(result);
})();
"""


def dump(page: Path, fragment: str = "") -> tuple[str, list[str]]:
    """Return the elements of the page after its script has run, and the errors on the console."""
    # A new profile for each call: a process of the last call may still write to the old one.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"{page.as_uri()}{fragment}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line and ADVICE not in line]


def play(page: Path, script: str, fragment: str = ""):
    """Run a script with the helpers in a copy of the page that allows it, and return its result."""
    text, replaced = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    assert replaced == 1
    copy = page.with_name(f"played-{page.name}")
    copy.write_text(text.replace("</body>", f"<script>{HELPERS % script}</script></body>"), "utf-8")
    elements, errors = dump(copy, fragment)
    assert errors == []
    return json.loads(html.unescape(re.search(r'<pre id="result">(.*?)</pre>', elements, re.DOTALL)[1]))
