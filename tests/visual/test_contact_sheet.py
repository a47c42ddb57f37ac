from PIL import Image, ImageFont

from msgformer.visual.contact_sheet import CELL, COLUMNS, GAP, ROWS, ContactSheet, _font, truncate


def test_images_are_arranged_in_rows_with_captions(tmp_path):
    sheet = ContactSheet(tmp_path / "sheet.png")
    for color in ["red", "green", "blue"] * 3:
        sheet.add(Image.new("RGB", (CELL, CELL // 2), color), ["seven 99.0 %", "a.png"])
    (path,) = sheet.finish()
    page = Image.open(path)
    assert page.width == GAP + COLUMNS * (CELL + GAP)
    assert page.getpixel((GAP + CELL // 2, GAP + CELL // 2)) == (255, 0, 0)
    assert page.getpixel((GAP + CELL // 2, GAP)) == (255, 255, 255)  # in the middle of its place
    assert page.getpixel((2 * GAP + CELL + CELL // 2, GAP + CELL // 2)) == (0, 128, 0)
    caption = page.crop((GAP, GAP + CELL, GAP + CELL, GAP + CELL + 30))
    assert caption.getextrema()[0][0] < 128  # something dark is written there


def test_page_has_no_empty_row(tmp_path):
    heights = []
    for count in (1, COLUMNS, COLUMNS + 1):
        sheet = ContactSheet(tmp_path / f"{count}.png")
        for _ in range(count):
            sheet.add(Image.new("RGB", (4, 4)), ["a"])
        heights.append(Image.open(sheet.finish()[0]).height)
    assert heights[0] == heights[1]
    assert heights[2] - GAP == 2 * (heights[1] - GAP)


def test_many_images_fill_several_pages(tmp_path):
    sheet = ContactSheet(tmp_path / "sheet.png")
    for _ in range(COLUMNS * ROWS + 1):
        sheet.add(Image.new("RGB", (4, 4)), ["a"])
    assert [path.name for path in sheet.finish()] == ["sheet.png", "sheet-2.png"]
    assert Image.open(tmp_path / "sheet-2.png").width == CELL + 2 * GAP


def test_no_images_give_no_page(tmp_path):
    assert ContactSheet(tmp_path / "sheet.png").finish() == []


def test_long_captions_are_cut():
    font = _font(bold=True)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert truncate("short", font, CELL) == "short"
    cut = truncate("long" * 99, font, CELL)
    assert cut.endswith("…")
    assert CELL - 12 < font.getlength(cut) <= CELL


def test_narrow_images_are_centered(tmp_path):
    sheet = ContactSheet(tmp_path / "sheet.png")
    sheet.add(Image.new("RGB", (CELL // 2, CELL), "red"), ["a"])
    page = Image.open(sheet.finish()[0])
    row = [page.getpixel((GAP + x, GAP + CELL // 2)) == (255, 0, 0) for x in range(CELL)]
    assert row == [CELL // 4 <= x < CELL // 4 + CELL // 2 for x in range(CELL)]
