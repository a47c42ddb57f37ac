from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from msgformer.tasks.export import images
from msgformer.tasks.export.images import MAX_CALIBRATION_IMAGES, calibration_batches


def _loaded(number):
    return Image.fromarray(np.full((4, 4, 3), number // 2, np.uint8))


def source(count, run=None):
    """A model whose run held out images of the gray levels 0, 0, 1, 1, 2, ..., as if sorted by class."""
    task = SimpleNamespace(held_out_images=lambda *_: (count, _loaded))
    card = SimpleNamespace(data={"path": None}, value_range=None)
    return SimpleNamespace(
        run=run, card=card, task=task, transform=lambda image: torch.tensor(np.asarray(image)[0, 0, 0])
    )


def test_all_classes_of_held_out_images_calibrate(tmp_path):
    batches = calibration_batches(None, source(500, tmp_path), 1)
    assert len(batches) == MAX_CALIBRATION_IMAGES
    assert {int(batch) for batch in batches} == set(range(250))


@pytest.mark.parametrize("count", [5, 12])
def test_all_classes_of_a_folder_calibrate(count, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_CALIBRATION_IMAGES", 7)
    for number in range(count):
        _loaded(number).save(tmp_path / f"{number:02d}.png")
    batches = calibration_batches(tmp_path, source(0), 2)
    assert [batch.shape for batch in batches] == [(2,)] * -(-min(count, 7) // 2)
    assert set(torch.cat(batches).tolist()) == set(range((count + 1) // 2))
