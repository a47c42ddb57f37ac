import base64
import json
import re

import numpy as np
import pytest
from PIL import Image

from explanations.small_models import noise, small_msg, small_sg
from msgformer.explanations.messengers import trace_messengers
from msgformer.explanations.overlay import ExplainedImage
from msgformer.explanations.page import ExplainPage, route_runs
from msgformer.explanations.significance import trace_significance
from visual.browser import dump, needs_browser, play
from visual.test_page import EVIL

HEIGHT, WIDTH = 50, 93


def gradient_image(height=HEIGHT, width=WIDTH):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def msg_blocks():
    """Blocks with windows of 16, 32 and 64 pixels, which extend beyond the image in all stages."""
    return trace_messengers(small_msg(), noise(HEIGHT, WIDTH), gradients=4)


@pytest.fixture(scope="module")
def sg_blocks():
    return trace_significance(small_sg(), noise(HEIGHT, WIDTH))


def page(blocks, name="image.png", word="word"):
    images = [ExplainedImage(name, gradient_image(), blocks), ExplainedImage("second", gradient_image(), blocks)]
    return ExplainPage(word, word, images, [word], word)


@pytest.fixture(scope="module")
def msg_page(msg_blocks, tmp_path_factory):
    path = tmp_path_factory.mktemp("msg") / "explain.html"
    path.write_text(page(msg_blocks).render(), "utf-8")
    return path


@pytest.fixture(scope="module")
def sg_page(sg_blocks, tmp_path_factory):
    path = tmp_path_factory.mktemp("sg") / "explain.html"
    path.write_text(page(sg_blocks).render(), "utf-8")
    return path


def test_the_page_holds_the_traced_values(msg_blocks):
    image = page(msg_blocks).data()["images"][0]
    assert image["size"] == (HEIGHT, WIDTH)
    assert image["extent"] == [64, 128]
    for step, block in zip(image["steps"], msg_blocks, strict=True):
        shades = np.frombuffer(base64.b64decode(step["attention"]), np.uint8).reshape(block.attention.shape)
        attention = shades / 255 * np.array(step["tops"])[:, None, None]
        np.testing.assert_allclose(attention, block.attention, atol=0.003)
        bits = np.frombuffer(base64.b64decode(step["reach"]), np.uint8).reshape(len(block.reach), -1)
        assert np.array_equal(np.unpackbits(bits, axis=1)[:, : block.reach.shape[1]], block.reach)
        assert len(step["gradients"]) == len(block.gradients)
        for window, runs in enumerate(step["routes"]):
            whole = np.zeros(len(block.reach))
            for source, share in runs:
                whole[source] += share
            np.testing.assert_allclose(whole, block.routes.shares[window], atol=1e-9)


def test_routes_of_mixing_exchanges_are_sorted_by_share():
    block = trace_messengers(small_msg(exchange="mean"), noise(64, 64))[0]
    for window, runs in enumerate(route_runs(block)):
        shares = [share for _, share in runs]
        assert shares == sorted(shares, reverse=True)
        assert runs[0][0] == window
        assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("family", ["msg", "sg"])
def test_the_page_is_self_contained(family, request):
    text = page(request.getfixturevalue(f"{family}_blocks"), EVIL, EVIL).render()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]{44}'", policy
    )
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["#content"]
    assert not re.search(r"https?://|url\(|@import", text)


def test_names_are_escaped(msg_blocks):
    harmless, evil = (page(msg_blocks, name, name).render() for name in ("word", EVIL))
    for tag in ("script", "img", "option", "p"):
        assert len(re.findall(f"<{tag}[ >]", evil)) == len(re.findall(f"<{tag}[ >]", harmless))
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', evil, re.DOTALL)[1])
    assert data["images"][0]["name"] == EVIL


@needs_browser
@pytest.mark.parametrize("family", ["msg", "sg"])
def test_the_page_opens_under_its_own_policy_without_errors(family, request, tmp_path):
    path = tmp_path / "explain.html"
    path.write_text(page(request.getfixturevalue(f"{family}_blocks"), EVIL, EVIL).render(), "utf-8")
    elements, errors = dump(path)
    assert errors == []
    assert 'data-ready="yes"' in elements
    assert 'data-block="1.1"' in elements


@needs_browser
def test_the_slider_changes_the_figures(msg_page):
    seen = play(
        msg_page,
        """
        const slider = document.getElementById("step"), seen = [];
        for (const value of [0, 2, 5]) {
          slider.value = value;
          slider.dispatchEvent(new Event("input", {bubbles: true}));
          seen.push({...page(), images: ["attention", "routes", "reach"].map(toDataUrl)});
        }
        document.getElementById("before").click();
        return [...seen, page(), slider.max];
        """,
    )
    assert [one["block"] for one in seen[:4]] == ["1.1", "2.1", "3.2", "3.1"]
    assert "block=2.1" in seen[1]["hash"]
    assert seen[4] == "5"
    for number in range(3):
        assert len({one["images"][number] for one in seen[:3]}) == 3


@needs_browser
def test_hovering_selects_the_window_and_shows_its_routes(msg_page, msg_blocks):
    """Each window of the first block is selected and framed, and the sources of its channels are correct."""
    first = msg_blocks[0]
    rows, cols = first.grid
    seen = play(
        msg_page,
        f"""
        const seen = [];
        for (let row = 0; row < {rows}; row++) for (let col = 0; col < {cols}; col++) {{
          const y = Math.min(16 * row + 9, {HEIGHT} - 1), x = Math.min(16 * col + 9, {WIDTH} - 1);
          at("attention", y, x);
          const strip = [...document.getElementById("strip").children].map((part) => part.textContent);
          seen.push({{...page(), strip, edge: color("attention", 16 * row + 0.02, x)}});
        }}
        return seen;
        """,
    )
    for window, one in enumerate(seen):
        row, col = divmod(window, cols)
        assert one["cell"] == f"{row + 1}.{col + 1}"
        assert f"row {row + 1}, column {col + 1} of {rows} \N{MULTIPLICATION SIGN} {cols}" in one["text"]
        sources = first.routes.sources[window][:: 16 // len(one["strip"])]
        assert one["strip"] == [f"{source // cols + 1}.{source % cols + 1}" for source in sources.tolist()]
        assert np.abs(np.array(one["edge"]) - [20, 88, 190]).max() < 40  # the frame's blue
        assert f"by routes, {int(first.reach[window].sum())} of the {rows * cols} windows" in one["text"]
    assert any("to padding" in one["text"] for one in seen)


@needs_browser
def test_clicks_lock_the_selection_and_keys_replace_the_pointer(msg_page):
    held, let_go, arrows, paged, ended, other, padded, headed = play(
        msg_page,
        """
        at("routes", 5, 5, "click"); at("routes", 40, 40);
        const held = page();
        key("routes", "Escape"); at("routes", 40, 40);
        const letGo = page();
        key("attention", "ArrowRight"); key("attention", "ArrowUp");
        const arrows = page();
        key("reach", "PageDown"); key("reach", "Enter");
        const paged = page();
        for (let time = 0; time < 9; time++) { key("reach", "PageDown"); key("reach", "ArrowLeft"); }
        const ended = page();
        const image = document.getElementById("image");
        image.value = 1; image.dispatchEvent(new Event("change"));
        const other = page();
        const shape = () => document.getElementById("attention").width / document.getElementById("attention").height;
        const before = shape(), padding = document.getElementById("padding");
        padding.click();
        const padded = [before, shape(), color("attention", 63, 127)];
        const head = document.getElementById("head"), mean = toDataUrl("attention");
        head.value = 2; head.dispatchEvent(new Event("change"));
        return [held, letGo, arrows, paged, ended, other, padded, [toDataUrl("attention") !== mean, page().hash]];
        """,
    )
    assert (held["cell"], held["held"]) == ("1.1", "true")
    assert (let_go["cell"], let_go["held"]) == ("3.3", "false")
    assert arrows["cell"] == "2.4"
    assert (paged["block"], paged["held"]) == ("1.2", "true")
    assert (ended["block"], ended["cell"]) == ("3.2", "1.1")
    assert (other["image"], other["block"]) == ("2", "3.2")
    assert padded[0] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    assert padded[1] == pytest.approx(2, rel=0.01)
    assert headed == [True, "#image=2&block=3.2&window=1.1&head=2"]


@needs_browser
def test_the_url_selects_a_block_and_a_window(msg_page):
    elements, errors = dump(msg_page, "#image=2&block=2.2&window=2.3")
    assert errors == []
    body = re.search(r"<body[^>]*>", elements)[0]
    assert {'data-image="2"', 'data-block="2.2"', 'data-cell="2.3"', 'data-held="true"'} <= set(body[:-1].split())


@needs_browser
def test_hovering_a_token_shows_its_group(sg_page, sg_blocks):
    block = sg_blocks[0]
    groups = block.groups.map(block.groups.by_row, tuple(block.significance.shape)).numpy()
    rows, cols = groups.shape
    tokens = [(0, 0), (5, 11), (11, 22)]
    others = [[(int(y), int(x)) for y, x in np.argwhere(groups == groups[token])] for token in tokens]
    seen = play(
        sg_page,
        f"""
        return {json.dumps(tokens)}.map(([row, col], number) => {{
          at("significance", 4 * row + 2, 4 * col + 2);
          const colors = {json.dumps(others)}[number].map(([y, x]) => color("groups", 4 * y + 0.6, 4 * x + 0.6));
          return {{...page(), colors, image: toDataUrl("groups")}};
        }});
        """,
    )
    for (row, col), members, one in zip(tokens, others, seen, strict=True):
        assert one["cell"] == f"{row + 1}.{col + 1}"
        assert f"merges {rows * cols} tokens into {len(block.groups.kind_of_group)}" in one["text"]
        assert f"in group {groups[row, col] + 1}, {len(members)} token" in one["text"]
        marked = [color == [255, 236, 61] for color in one["colors"]]
        assert marked.count(False) <= 1  # the frame of the selected token
    assert len({one["image"] for one in seen}) == 3


@needs_browser
def test_the_slider_changes_significance_and_groups(sg_page, sg_blocks):
    seen = play(
        sg_page,
        """
        const slider = document.getElementById("step"), seen = [];
        for (let value = 0; value <= slider.max; value++) {
          slider.value = value;
          slider.dispatchEvent(new Event("input", {bubbles: true}));
          seen.push({...page(), images: [toDataUrl("significance"), toDataUrl("groups")]});
        }
        return seen;
        """,
    )
    assert [one["block"] for one in seen] == [f"{block.stage}.{block.block}" for block in sg_blocks]
    assert len({one["images"][0] for one in seen}) == len({one["images"][1] for one in seen}) == len(sg_blocks)
    for one, block in zip(seen, sg_blocks, strict=True):
        assert ("no block uses the map" in one["text"]) == (block.groups is None)
