"""Detection data as labeling tools and public data sets leave them."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from real_data import Case
from real_data.drawing import SIZE, Shape, draw, scene

WIDTH, HEIGHT = SIZE
SUBSETS = {"train": (8, 0), "val": (4, 50)}
"""Number of images and first seed of each subset."""

USUAL = {"train": 8, "val": 4}
WHOLE = {"all": 10}
"""Number of images of data sets without subsets."""

Content = dict[str, list[dict[str, Any]]]
Change = Callable[[str, Content], object]


def coco(count: int, first: int, *, first_id: int = 1, prefix: str = "") -> Content:
    """Return the COCO annotations of ``count`` scenes."""
    content: Content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "disk"}, {"id": 2, "name": "square"}],
    }
    for index in range(count):
        name = f"{prefix}{first + index:06}.jpg"
        content["images"].append({"id": index + first_id, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for shape in scene(first + index)[1]:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + first_id,
                    "image_id": index + first_id,
                    "category_id": 1 if shape.name == "disk" else 2,
                    "bbox": shape.box,
                    "area": shape.side**2,
                    "segmentation": [shape.polygon],
                    "iscrowd": 0,
                }
            )
    return content


def write_images(folder: Path, count: int, first: int, name: str = "{:06}.jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        scene(seed)[0].save(folder / name.format(seed))


def write_coco(root: Path, change: Change | None = None, *, first_id: int = 1, encoding: str = "utf-8") -> None:
    """Write COCO's own layout, changed by a function of the subset and its annotations."""
    (root / "annotations").mkdir(parents=True)
    for subset, (count, first) in SUBSETS.items():
        content = coco(count, first, first_id=first_id)
        write_images(root / "images" / subset, count, first)
        if change is not None:
            change(subset, content)
        (root / "annotations" / f"instances_{subset}.json").write_text(json.dumps(content), encoding=encoding)


def changed(subset: str | None, **values: Any) -> Callable[[Path], None]:
    """Return a writer whose fourth annotation is changed in one subset, or all annotations in all subsets."""

    def change(this: str, content: Content) -> None:
        for index, one in enumerate(content["annotations"]):
            if subset is None or (this == subset and index == 3):
                one.update(values)

    return lambda root: write_coco(root, change)


def without(*keys: str) -> Callable[[Path], None]:
    """Return a writer whose annotations lack some keys."""

    def change(_: str, content: Content) -> None:
        for one in content["annotations"]:
            for key in keys:
                del one[key]

    return lambda root: write_coco(root, change)


def write_part(root: Path, part: object) -> None:
    """Add a part to the polygons of the first object."""
    write_coco(root, lambda _, content: content["annotations"][0]["segmentation"].append(part))


def write_run_lengths(root: Path) -> None:
    """Masks as uncompressed run lengths, column by column, of the whole box."""

    def change(_: str, content: Content) -> None:
        for one in content["annotations"]:
            left, top, side, _ = one["bbox"]
            counts = [left * HEIGHT + top, side]
            for _ in range(side - 1):
                counts += [HEIGHT - side, side]
            one["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": [*counts, WIDTH * HEIGHT - sum(counts)]}

    write_coco(root, change)


def write_sparse_ids(root: Path) -> None:
    def change(_: str, content: Content) -> None:
        for category in content["categories"]:
            category["id"] = {1: 7, 2: 90}[category["id"]]
        for one in content["annotations"]:
            one["category_id"] = {1: 7, 2: 90}[one["category_id"]]

    write_coco(root, change)


def write_class_only_in_val(root: Path) -> None:
    def change(subset: str, content: Content) -> None:
        if subset == "val":
            content["categories"].append({"id": 9, "name": "cross"})
            content["annotations"][0]["category_id"] = 9

    write_coco(root, change)


def write_no_sizes(root: Path) -> None:
    """Images without width or height in the JSON."""

    def change(_: str, content: Content) -> None:
        for one in content["images"]:
            del one["width"]
            one["height"] = 0

    write_coco(root, change)


def write_doubled_class(root: Path) -> None:
    write_coco(root, lambda _, content: content["categories"][1].update(name="disk"))


def write_missing_image(root: Path) -> None:
    write_coco(root)
    (root / "images" / "train" / "000003.jpg").unlink()


def write_unknown_image(root: Path) -> None:
    write_coco(root, lambda _, content: content["annotations"][0].update(image_id=999))


def write_doubled_image_id(root: Path) -> None:
    write_coco(root, lambda _, content: content["images"][1].update(id=1))


def write_empty_images(root: Path) -> None:
    """Two images without objects."""

    def change(_: str, content: Content) -> None:
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] > 2]

    write_coco(root, change)


def write_no_objects(root: Path) -> None:
    write_coco(root, lambda _, content: content["annotations"].clear())


def write_many_objects(root: Path) -> None:
    """More than 100 objects in an image."""

    def change(_: str, content: Content) -> None:
        one = content["annotations"][0]
        for number in range(150):
            content["annotations"].append({**one, "id": 1000 + number})

    write_coco(root, change)


def write_spaces(root: Path) -> None:
    write_coco(root, lambda _, content: [one.update(file_name=f"my {one['file_name']}") for one in content["images"]])
    for path in [*root.rglob("*.jpg")]:
        path.rename(path.with_name(f"my {path.name}"))


def write_roboflow(root: Path) -> None:
    for subset, (count, first) in {"train": (8, 0), "valid": (4, 50), "test": (3, 80)}.items():
        content = coco(count, first, first_id=0)
        content["categories"] = [
            {"id": 0, "name": "shapes", "supercategory": "none"},
            {"id": 1, "name": "disk", "supercategory": "shapes"},
            {"id": 2, "name": "square", "supercategory": "shapes"},
        ]
        write_images(root / subset, count, first)
        (root / subset / "_annotations.coco.json").write_text(json.dumps(content))


def write_one_json(root: Path, name: str = "annotations/instances_default.json", prefix: str = "") -> None:
    """CVAT's layout: one JSON, no split."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(coco(10, 0, prefix=prefix)))
    write_images(root / "images", 10, 0)


def write_label_studio(root: Path) -> None:
    """One result.json, whose file names have a prefix and Windows separators."""
    write_one_json(root, "result.json", prefix="images\\")


def write_uploads(root: Path) -> None:
    """Label Studio's file names of uploads, which lie in another folder without their prefix."""
    write_one_json(root, "result.json")
    path = root / "result.json"
    content = json.loads(path.read_text())
    for number, one in enumerate(content["images"]):
        one["file_name"] = f"../../data/upload/1/{number:08x}-{one['file_name']}"
    path.write_text(json.dumps(content))


def write_fiftyone(root: Path) -> None:
    """labels.json beside data/."""
    write_one_json(root, "labels.json")
    (root / "images").rename(root / "data")


def write_beside_images(root: Path) -> None:
    """Roboflow's export without subsets: one JSON among the images."""
    write_images(root, 10, 0)
    (root / "_annotations.coco.json").write_text(json.dumps(coco(10, 0, first_id=0)))


def write_nested_images(root: Path, *, doubled: bool = False) -> None:
    """Images in folders that the JSON doesn't name; a base name may be that of two images."""
    write_one_json(root, "labels.json")
    for place, path in enumerate(sorted((root / "images").glob("*.jpg"))):
        folder = root / "photos" / f"day{place % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
        if doubled and place == 0:
            (root / "photos" / "day1").mkdir()
            (root / "photos" / "day1" / path.name).write_bytes((folder / path.name).read_bytes())


def write_train_only(root: Path) -> None:
    """Annotations of training images only."""
    write_coco(root)
    (root / "annotations" / "instances_val.json").unlink()


def write_plain_names(root: Path) -> None:
    """train.json and val.json beside images/."""
    root.mkdir(parents=True, exist_ok=True)
    for subset, (count, first) in SUBSETS.items():
        write_images(root / "images", count, first)
        (root / f"{subset}.json").write_text(json.dumps(coco(count, first)))


def write_yolo(root: Path, *, polygons: bool = False, names: str = "names:\n  0: disk\n  1: square\n") -> None:
    for subset, (count, first) in SUBSETS.items():
        write_images(root / "images" / subset, count, first)
        labels = root / "labels" / subset
        labels.mkdir(parents=True)
        for seed in range(first, first + count):
            lines = [yolo_line(shape, polygons) for shape in scene(seed)[1]]
            (labels / f"{seed:06}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\n{names}")


def write_yolo_without_config(root: Path) -> None:
    """Label Studio's export: classes.txt, images/ and labels/."""
    write_yolo(root)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("disk\nsquare\n")
    for folder, suffix in (("images", "jpg"), ("labels", "txt")):
        for path in sorted((root / folder).glob(f"*/*.{suffix}")):
            path.rename(root / folder / path.name)
        for subset in SUBSETS:
            (root / folder / subset).rmdir()


def write_yolo_without_val(root: Path) -> None:
    write_yolo(root)
    path = root / "data.yaml"
    path.write_text(path.read_text().replace("val: images/val\n", ""))


def yolo_line(shape: Shape, polygon: bool) -> str:
    left, top, side, _ = shape.box
    box = ((left + side / 2) / WIDTH, (top + side / 2) / HEIGHT, side / WIDTH, side / HEIGHT)
    corners = [value / (HEIGHT if index % 2 else WIDTH) for index, value in enumerate(shape.polygon)]
    return f"{int(shape.name == 'square')} {' '.join(f'{value:.6f}' for value in (corners if polygon else box))}"


def write_yolo_of_roboflow(root: Path) -> None:
    """data.yaml with paths that start above its own folder, and subsets with images/ and labels/ in each."""
    for subset, (count, first) in {"train": (8, 0), "valid": (4, 50)}.items():
        write_images(root / subset / "images", count, first)
        (root / subset / "labels").mkdir(parents=True)
        for seed in range(first, first + count):
            lines = [yolo_line(shape, False) for shape in scene(seed)[1]]
            (root / subset / "labels" / f"{seed:06}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['disk', 'square']\n")


def write_labelme(root: Path) -> None:
    """A JSON beside each image, with its pixels inside."""
    write_images(root, 10, 0)
    for seed in range(10):
        image, shapes = scene(seed)
        buffer = BytesIO()
        image.save(buffer, "JPEG")
        points = [[*zip(shape.polygon[::2], shape.polygon[1::2], strict=True)] for shape in shapes]
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": [
                {"label": shape.name, "points": corners, "group_id": None, "shape_type": "polygon", "flags": {}}
                for shape, corners in zip(shapes, points, strict=True)
            ],
            "imagePath": f"{seed:06}.jpg",
            "imageData": base64.b64encode(buffer.getvalue()).decode(),
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        (root / f"{seed:06}.json").write_text(json.dumps(content))


def write_labelme_shapes(root: Path) -> None:
    """Rectangles and circles, a point, a reserved label, and two parts of one object."""
    write_labelme(root)
    for path in sorted(root.glob("*.json")):
        content = json.loads(path.read_text())
        disk, square, parts = content["shapes"]
        (left, top), _, (right, bottom), _ = disk["points"]
        middle = [(left + right) / 2, (top + bottom) / 2]
        disk.update(shape_type="circle", points=[middle, [right, middle[1]]])
        square.update(shape_type="rectangle", points=[square["points"][0], square["points"][2]])
        parts["group_id"] = 1
        other = {**parts, "points": [[x + 2, y] for x, y in parts["points"]]}
        point = {**parts, "shape_type": "point", "points": [middle], "group_id": None}
        ignored = {**parts, "label": "__ignore__", "group_id": None}
        content["shapes"] += [other, point, ignored]
        path.write_text(json.dumps(content))


def write_labelme_subsets(root: Path) -> None:
    write_labelme(root)
    for place, path in enumerate(sorted(root.glob("*.json"))):
        folder = root / ("train" if place < 7 else "val")
        folder.mkdir(exist_ok=True)
        for one in (path, path.with_suffix(".jpg")):
            one.rename(folder / one.name)


def write_voc_without_lists(root: Path) -> None:
    """Kaggle's layout: annotations/ and images/ without subsets."""
    write_voc(root)
    shutil.rmtree(root / "ImageSets")
    (root / "Annotations").rename(root / "annotations")
    (root / "JPEGImages").rename(root / "images")


def write_voc_of_roboflow(root: Path) -> None:
    """XML files beside the images, in one folder per subset."""
    write_voc(root)
    for subset in SUBSETS:
        folder = root / {"train": "train", "val": "valid"}[subset]
        folder.mkdir()
        for name in (root / "ImageSets" / "Main" / f"{subset}.txt").read_text().split():
            (root / "Annotations" / f"{name}.xml").rename(folder / f"{name}.xml")
            (root / "JPEGImages" / f"{name}.jpg").rename(folder / f"{name}.jpg")
    shutil.rmtree(root / "ImageSets")


def write_voc_spaces(root: Path) -> None:
    """Names with spaces, and a list with the second column of one class."""
    write_voc(root)
    for path in [*(root / "Annotations").iterdir(), *(root / "JPEGImages").iterdir()]:
        path.rename(path.with_name(f"my {path.name}"))
    for path in (root / "ImageSets" / "Main").iterdir():
        path.write_text(
            "".join(f"my {name}  {1 if place else -1}\n" for place, name in enumerate(path.read_text().split()))
        )


def write_voc_difficult(root: Path) -> None:
    """Nothing but difficult objects."""
    write_voc(root)
    for path in (root / "Annotations").iterdir():
        path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))


def write_voc(root: Path, *, suffix: str = ".jpg", size: tuple[int, int] = SIZE, encoding: str = "utf-8") -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for subset, (count, first) in SUBSETS.items():
        write_images(root / "JPEGImages", count, first, "{:06}" + suffix)
        names = [f"{seed:06}" for seed in range(first, first + count)]
        (root / "ImageSets" / "Main" / f"{subset}.txt").write_text("\n".join(names) + "\n")
        for seed, name in zip(range(first, first + count), names, strict=True):
            text = f"<annotation><filename>{name}{suffix}</filename><folder>图片</folder><size><width>{size[0]}</width>"
            text += f"<height>{size[1]}</height><depth>3</depth></size>"
            for shape in scene(seed)[1]:
                left, top, side, _ = shape.box
                text += (
                    f"<object><name>{shape.name}</name><difficult>0</difficult><bndbox><xmin>{left + 1}</xmin>"
                    f"<ymin>{top + 1}</ymin><xmax>{left + side}</xmax><ymax>{top + side}</ymax></bndbox></object>"
                )
            declared = "" if encoding == "utf-8-sig" else f'<?xml version="1.0" encoding="{encoding}"?>'
            path = root / "Annotations" / f"{name}.xml"
            path.write_bytes(f"{declared}{text}</annotation>".encode(encoding))


def write_rotated(root: Path) -> None:
    """Photographs with an EXIF orientation, annotated as their raw pixels lie."""
    write_coco(root)
    for path in [*(root / "images").rglob("*.jpg")]:
        image, shapes = scene(int(path.stem))
        for shape in shapes:
            draw(image, shape)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)


def write_background_only_val(root: Path) -> None:
    """Validation images without any object."""
    write_coco(root, lambda subset, content: content["annotations"].clear() if subset == "val" else None)


def write_wrong_size(root: Path) -> None:
    """Sizes in the JSON that the images don't have."""
    write_coco(root, lambda _, content: [one.update(width=960, height=720) for one in content["images"]])


def write_beyond_the_border(root: Path) -> None:
    write_coco(root, lambda _, content: content["annotations"][0].update(bbox=[-3, -2, 30, 30], segmentation=[]))


def write_unreadable_json(root: Path) -> None:
    write_coco(root)
    path = root / "annotations" / "instances_val.json"
    path.write_text(path.read_text()[:-40])


BOXES = {"detect": {"head": "faster_rcnn"}}

CASES = [
    Case("COCO", write_coco, images=USUAL),
    Case("ids from 0", lambda root: write_coco(root, first_id=0), images=USUAL),
    Case("an object without mask in val", changed("val", segmentation=[]), images=USUAL),
    Case("a mask that is null", changed("val", segmentation=None), images=USUAL),
    Case("an object without mask in train", changed("train", segmentation=[]), images=USUAL),
    Case("an empty polygon", lambda root: write_part(root, []), images=USUAL),
    Case("a polygon of one number", lambda root: write_part(root, [5]), images=USUAL),
    Case("run lengths", write_run_lengths, images=USUAL),
    Case("no masks", without("segmentation"), settings=BOXES, images=USUAL),
    Case("no areas and no iscrowd", without("area", "iscrowd"), images=USUAL),
    Case("iscrowd as text", changed(None, iscrowd="0"), images=USUAL),
    Case("a crowd", changed("train", iscrowd=1), images=USUAL),
    Case("sparse category ids", write_sparse_ids, images=USUAL),
    Case("byte order mark", lambda root: write_coco(root, encoding="utf-8-sig"), images=USUAL),
    Case("images without objects", write_empty_images, images=USUAL),
    Case("more than 100 objects", write_many_objects, images=USUAL),
    Case("spaces in file names", write_spaces, images=USUAL),
    Case("a box beyond the border", write_beyond_the_border, images=USUAL),
    Case("EXIF orientation", write_rotated, images=USUAL),
    Case("Roboflow", write_roboflow, images=USUAL),
    Case("CVAT", write_one_json, images=WHOLE),
    Case("Label Studio", write_label_studio, images=WHOLE),
    Case("uploads of Label Studio", write_uploads, images=WHOLE),
    Case("FiftyOne", write_fiftyone, images=WHOLE),
    Case("Roboflow without subsets", write_beside_images, images=WHOLE),
    Case("images in other folders", write_nested_images, images=WHOLE),
    Case("two images of a name", lambda root: write_nested_images(root, doubled=True), refused=r"000000\.jpg"),
    Case("train only", write_train_only, images={"all": 8}),
    Case("no sizes", write_no_sizes, images=USUAL),
    Case("train.json and val.json", write_plain_names, images=USUAL),
    Case("one JSON beside images/", lambda root: write_one_json(root, "labels.json"), images=WHOLE),
    Case("YOLO boxes", write_yolo, settings=BOXES, images=USUAL),
    Case("YOLO polygons", lambda root: write_yolo(root, polygons=True), images=USUAL),
    Case(
        "YOLO names as a list",
        lambda root: write_yolo(root, names="names: [disk, square]\n"),
        settings=BOXES,
        images=USUAL,
    ),
    Case("YOLO of Roboflow", write_yolo_of_roboflow, settings=BOXES, images=USUAL),
    Case("YOLO without names", lambda root: write_yolo(root, names=""), refused="names"),
    Case("YOLO without data.yaml", write_yolo_without_config, settings=BOXES, images={"all": 12}),
    Case("YOLO without val", write_yolo_without_val, settings=BOXES, images={"all": 8}),
    Case("LabelMe", write_labelme, images=WHOLE),
    Case("shapes of LabelMe", write_labelme_shapes, images=WHOLE),
    Case("subsets of LabelMe", write_labelme_subsets, images={"train": 7, "val": 3}),
    Case("Pascal VOC without lists", write_voc_without_lists, settings=BOXES, images={"all": 12}),
    Case("Pascal VOC of Roboflow", write_voc_of_roboflow, settings=BOXES, images=USUAL),
    Case("Pascal VOC with spaces", write_voc_spaces, settings=BOXES, images=USUAL),
    Case("Pascal VOC with difficult objects only", write_voc_difficult, settings=BOXES, refused="object"),
    Case("Pascal VOC", write_voc, settings=BOXES, images=USUAL),
    Case("Pascal VOC with .JPG", lambda root: write_voc(root, suffix=".JPG"), settings=BOXES, images=USUAL),
    Case("Pascal VOC of size 0", lambda root: write_voc(root, size=(0, 0)), settings=BOXES, images=USUAL),
    Case("Pascal VOC in GB2312", lambda root: write_voc(root, encoding="gb2312"), settings=BOXES, images=USUAL),
    Case(
        "Pascal VOC with a byte order mark",
        lambda root: write_voc(root, encoding="utf-8-sig"),
        settings=BOXES,
        images=USUAL,
    ),
    Case("a class only in val", write_class_only_in_val, refused="cross"),
    Case("a doubled class name", write_doubled_class, refused="disk"),
    Case("a missing image", write_missing_image, refused=r"000003\.jpg"),
    Case("an unknown image", write_unknown_image, refused="999"),
    Case("a doubled image id", write_doubled_image_id, refused="1"),
    Case("no objects", write_no_objects, refused="object|annotation"),
    Case("no objects in val", write_background_only_val, refused="object|annotation"),
    Case("sizes that the images don't have", write_wrong_size, refused="960|size"),
    Case("a JSON cut off", write_unreadable_json, refused=r"instances_val\.json"),
]
