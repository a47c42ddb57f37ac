"""Teachers that are models of timm."""

import pytest
import timm
import torch

from msgformer.data.preprocessing import Preprocessing
from msgformer.errors import UserError
from msgformer.tasks.classification import teacher as teaching

STUDENT = Preprocessing((3, 16, 16), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")


def test_a_timm_teacher_uses_its_own_preprocessing(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(teaching.timm, "create_model", lambda name, **_: create(name))
    teacher = teaching.open_teacher("test_vit", [str(number) for number in range(1000)], STUDENT)
    config = timm.get_pretrained_cfg("test_vit")
    assert teacher.teacher_format.size == config.input_size[1:]
    assert teacher.teacher_format.mean == config.mean
    assert teacher(torch.randn(2, 3, 16, 16)).shape == (2, 1000)


def test_a_teacher_that_cannot_be_fetched_is_named():
    with pytest.raises(
        UserError, match=r"teacher: the weights of msg_transformer_tiny can't be downloaded \(.*\); give a run"
    ):
        teaching.open_teacher("msg_transformer_tiny", [str(number) for number in range(1000)], STUDENT)
