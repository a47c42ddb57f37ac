import numpy as np
from PIL import Image

from msgformer.visual.drawing import Mark, class_color, class_map, draw_classes, draw_objects


def test_neighboring_classes_differ_in_color():
    colors = np.array([class_color(label) for label in range(30)], float)
    assert min(np.abs(colors[a] - colors[a + 1]).max() for a in range(29)) > 60
    assert len({tuple(color) for color in colors.tolist()}) == 30


def test_objects_are_drawn_where_they_are():
    image = Image.new("RGB", (100, 80), (128, 128, 128))
    mask = np.zeros((80, 100), bool)
    mask[40:50, 40:60] = True
    drawn = np.asarray(draw_objects(image, [Mark((30, 30, 70, 60), 3, mask=mask)]))
    color = np.array(class_color(3))
    assert (drawn[30, 30:71] == color).all()
    assert (drawn[30:61, 70] == color).all()
    assert (drawn[35, 35] == 128).all()
    inside = drawn[45, 50].astype(int)
    assert (np.sign(inside - 128) == np.sign(color - 128)).all()
    assert (np.abs(inside - 128) < np.abs(color - 128)).all()
    assert (np.asarray(image) == 128).all()  # the image itself stays


def test_texts_stay_inside_the_image():
    image = Image.new("RGB", (120, 60), "gray")
    for box in ((0, 0, 10, 10), (110, 50, 119, 59), (5, 30, 50, 50)):
        with_text = np.asarray(draw_objects(image, [Mark(box, 1, "seven 0.98")])).astype(int)
        without = np.asarray(draw_objects(image, [Mark(box, 1)])).astype(int)
        changed = (with_text != without).any(-1)
        assert changed.sum() > 200
        ground = np.abs(with_text - class_color(1)).max(-1) == 0
        assert (ground & changed).sum() > 100


def test_the_first_object_is_on_top():
    image = Image.new("RGB", (60, 60), "black")
    drawn = np.asarray(draw_objects(image, [Mark((10, 10, 40, 40), 0), Mark((10, 10, 40, 40), 1)]))
    assert tuple(drawn[10, 20]) == class_color(0)


def test_classes_are_drawn_over_the_image():
    image = Image.new("RGB", (4, 2), "white")
    classes = np.array([[0, 1, 2, 255]] * 2)
    drawn = np.asarray(draw_classes(image, classes)).astype(int)
    assert (drawn[:, 3] == 255).all()
    assert len({tuple(pixel) for pixel in drawn[0].tolist()}) == 4
    palette = class_map(classes)
    assert palette.mode == "P"
    np.testing.assert_array_equal(np.asarray(palette), classes)
    assert palette.convert("RGB").getpixel((1, 0)) == class_color(1)
