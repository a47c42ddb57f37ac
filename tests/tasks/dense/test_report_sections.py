from PIL import Image

from msgformer.tasks.dense.report_sections import Example, dense_headline, dense_sections
from msgformer.visual.page import Gallery, Page, Table

SCORES = {"box_ap": 31.25, "box_ap50": 50.0, "box_ap_large": None, "mask_ap": 28.0, "mask_ap50": 45.0}
SCORES |= {"mask_ap_large": None}


def test_headline_has_the_most_important_scores():
    assert [(tile.label, tile.value) for tile in dense_headline(SCORES)][:2] == [
        ("Box AP", "31.25 %"),
        ("Box AP50", "50.00 %"),
    ]
    assert [tile.label for tile in dense_headline({"miou": 60.0, "loss": 1.0})] == ["Mean IoU"]


def test_sections_have_metrics_classes_and_examples():
    image = Image.new("RGB", (640, 480), "red")
    examples = [Example("<b>.jpg", image, image, "a cat")]
    per_class = {
        "cat": {"box_ap": 40.0, "mask_ap": 30.0},
        "none": {"box_ap": None, "mask_ap": None},
        "dog": {"box_ap": 20.0, "mask_ap": 25.0},
    }
    metrics, classes, shown = dense_sections(SCORES, per_class, examples)
    (table,) = metrics.blocks
    assert table.header == ("Measure", "Box", "Mask")
    assert list(table.rows)[2] == ("AP LARGE", "-", "-")
    assert [row[0] for row in classes.blocks[0].rows] == ["dog", "cat", "none"]
    gallery = next(block for block in shown.blocks if isinstance(block, Gallery))
    assert len(gallery.images) == 2
    page = Page("run", "lead", dense_headline(SCORES), [metrics, classes, shown], "footer").render()
    assert "&lt;b&gt;.jpg" in page
    assert "<b>.jpg" not in page


def test_many_classes_are_folded():
    per_class = {f"class {number}": {"iou": float(number)} for number in range(40)}
    (classes,) = dense_sections({"miou": 20.0}, per_class, [])
    tables = [block for block in classes.blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [30, 10]
    assert tables[1].folded == "10 more classes"
