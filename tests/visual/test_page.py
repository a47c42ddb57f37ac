import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from msgformer.visual.page import (
    THUMBNAIL,
    Code,
    Figure,
    Gallery,
    GalleryImage,
    Page,
    Section,
    Table,
    Text,
    Tile,
    thumbnail,
)
from msgformer.visual.plots import Plot

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects elements with their attributes and the text, and checks that all elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page(word="word"):
    """Create a page with one block of each kind, and ``word`` in all texts."""
    blocks = [
        Text(word),
        Figure(Plot("plot", "<svg xmlns='http://www.w3.org/2000/svg'></svg>", b"png"), word, word),
        Table(word, (word, word), [(word, 1), (word, 2)]),
        Table(word, (word, word), [(word, 1)], folded=word),
        Gallery([GalleryImage("data:image/png;base64,", word, [word, word], good=False)]),
        Code(word, word),
    ]
    return Page(word, word, [Tile(word, word, word)], [Section(word, blocks)], word, notes=[word])


def test_every_block_is_shown():
    read = Reader(page("word").render())
    assert len(read.all("section")) == 1
    assert len(read.all("details")) == 2
    assert len(read.all("table")) == 2
    assert read.text.count("word") >= 21
    assert [plot.name for plot in page().plots()] == ["plot"]


def test_all_text_is_escaped():
    """The page has the same elements with hostile names of classes and files as with harmless ones."""
    harmless, evil = (Reader(page(word).render()) for word in ("word", EVIL))
    assert [name for name, _ in evil.elements] == [name for name, _ in harmless.elements]
    assert [sorted(keys) for _, keys in evil.elements] == [sorted(keys) for _, keys in harmless.elements]
    assert EVIL in evil.text
    assert "49" not in evil.text


def test_the_page_is_self_contained():
    text = page(EVIL).render()
    read = Reader(text)
    policy = next(meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not read.all("script")
    assert not read.all("link")
    assert all(image["src"].startswith("data:image/") for image in read.all("img"))
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import|http", style)


def test_the_page_is_accessible():
    read = Reader(page().render())
    assert read.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in read.all("img"))
    assert {heading["scope"] for heading in read.all("th")} == {"col", "row"}
    assert len(read.all("caption")) == len(read.all("table"))
    anchors = {link["href"].removeprefix("#") for link in read.all("a")}
    assert anchors <= {element.get("id") for _, element in read.elements}


def test_control_characters_are_escaped():
    assert "a\\n\\x1b[31mb" in Reader(page("a\n\x1b[31mb").render()).text


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((8, 8), (8, 8)),
        ((1000, 500), (THUMBNAIL, THUMBNAIL // 2)),
        ((10 * THUMBNAIL, THUMBNAIL), (THUMBNAIL, THUMBNAIL // 10)),
    ],
)
def test_thumbnails_are_small_and_uncropped(size, expected):
    kind, _, content = thumbnail(Image.new("RGB", size, "red")).partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.size == expected
    assert kind == f"data:image/{image.format.lower()}"


def test_anchors_are_the_words_of_the_title():
    assert Section("Average precision & recall (IoU 0.5)", []).anchor == "average-precision-recall-iou-0-5"
