from pathlib import Path

import pytest

from msgformer.checkpoints.export_card import ExportCard, Sizes, is_exported
from msgformer.errors import UserError

FIXED = Sizes((2, 2), (16, 16), (24, 24))
DYNAMIC = Sizes((1, 1024), (9, 4096), (9, 4096))
PATH = Path("model.onnx")


def card(sizes=FIXED, **changes):
    return ExportCard("onnx", "segment", "sgformer_small", ["a", "é"], {"crop_pct": 0.9}, sizes, **changes)


def test_sizes_are_fixed_where_minimum_and_maximum_are_equal():
    assert (FIXED.fixed_batch, FIXED.fixed_size, str(FIXED)) == (2, (16, 24), "16 x 24")
    assert (DYNAMIC.fixed_batch, DYNAMIC.fixed_size, str(DYNAMIC)) == (None, None, "9..4096 x 9..4096")
    assert Sizes((1, 1), (16, 16), (9, 24)).fixed_size is None


def test_bounds_of_sizes_are_inclusive():
    assert DYNAMIC.accepts(9, 4096)
    assert not DYNAMIC.accepts(8, 4096)
    assert not DYNAMIC.accepts(9, 4097)


@pytest.mark.parametrize("changes", [{}, {"mean": (0.5,), "std": (0.25,), "outputs": ("boxes", "scores")}])
def test_card_is_read_as_written(changes):
    assert ExportCard.from_json(card(**changes).to_json(), PATH) == card(**changes)


def test_missing_card_is_refused():
    with pytest.raises(UserError, match=r"^model\.onnx has no card with classes"):
        ExportCard.from_json(None, PATH)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"sizes": {"batch": [1, 1]}}'])
def test_card_of_another_version_is_refused(text):
    with pytest.raises(UserError, match=r"^model\.onnx was written by another version of msgformer"):
        ExportCard.from_json(text, PATH)


def test_remedy_for_another_size_depends_on_the_file():
    card().check_size(16, 24, PATH)
    with pytest.raises(UserError, match=r"images of 16 x 24 pixels, not of 24 x 16; export it with --dynamic_size"):
        card().check_size(24, 16, PATH)
    with pytest.raises(UserError, match=r"not of 8 x 64; resize it"):
        card(DYNAMIC).check_size(8, 64, PATH)


def test_exported_files_are_recognized_by_suffix(tmp_path):
    for name in ("model.ONNX", "model.pt2", "model.ckpt"):
        (tmp_path / name).touch()
    assert is_exported(tmp_path / "model.ONNX")
    assert is_exported(tmp_path / "model.pt2")
    assert not is_exported(tmp_path / "model.ckpt")
    assert not is_exported(tmp_path / "missing.onnx")
