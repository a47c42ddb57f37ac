from contextlib import contextmanager

import pytest

from data.dense_folders import write_ade20k, write_coco
from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.survey import survey_classification, survey_detection, survey_segmentation
from msgformer.errors import UserError


@contextmanager
def no_progress(total):
    yield lambda: None


def test_classification_counts_images_per_subset_and_class(image_folder):
    image_folder("data/train", per_class=5)
    root = image_folder("data/val", per_class=2).parent
    found = survey_classification(str(root), no_progress)
    assert found.images == {"train": 10, "val": 4}
    assert found.classes == {"train": {"dark": 5, "light": 5}, "val": {"dark": 2, "light": 2}}


def test_progress_is_shown_for_every_image(image_folder):
    totals, steps = [], []

    @contextmanager
    def progress(total):
        totals.append(total)
        yield lambda: steps.append(1)

    survey_classification(str(image_folder(per_class=5)), progress)
    assert (totals, len(steps)) == ([10], 10)


def test_unreadable_images_are_the_first_problem(image_folder):
    root = image_folder(per_class=5)
    (root / "dark" / "01.png").write_bytes(b"no image")
    problem = survey_classification(str(root), no_progress).problems[0]
    assert problem.severity == "error"
    assert "01.png" in str(problem)


def test_damaged_shards_are_problems(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"damaged" * 200)
    found = survey_classification(f"tar:{tmp_path / 'a.tar'}", no_progress)
    assert [(one.severity, one.kind) for one in found.problems] == [("error", "damaged shard")]
    assert found.images == {}


def test_detection_counts_objects_per_class(tmp_path):
    found = survey_detection(str(write_coco(tmp_path)), no_progress)
    assert found.images == {"train": 3, "val": 3}
    assert found.classes["train"] == {"cat": 2, "dog": 2}


def test_segmentation_counts_images(tmp_path):
    found = survey_segmentation(str(write_ade20k(tmp_path)), no_progress, LabelOptions(True))
    assert found.images == {"train": 3, "val": 3}
    assert not [problem for problem in found.problems if problem.severity == "error"]
    wrong = survey_segmentation(str(tmp_path), no_progress, LabelOptions(False))
    assert "error" in {problem.severity for problem in wrong.problems}


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError):
        survey_detection(str(tmp_path), no_progress)
    with pytest.raises(UserError):
        survey_segmentation(str(tmp_path), no_progress, LabelOptions())
