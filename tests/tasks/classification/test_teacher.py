"""Teachers that are models of timm."""

from dataclasses import replace

import pytest
import timm
import torch

from msgformer.checkpoints.card import ModelCard
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


def test_a_teacher_of_another_value_range_is_refused(tmp_path, monkeypatch):
    card = ModelCard("m", {}, ["a", "b"], replace(STUDENT, value_range=(0, 4095)).to_dict())
    monkeypatch.setattr(teaching, "load_model", lambda _: (torch.nn.Identity(), card))
    path = tmp_path / "best.ckpt"
    path.touch()
    remedy = r"trained on values in 0\.\.4095; give --preprocess.value_range '\[0, 4095\]' as well"
    for other in (None, (0, 65535)):
        with pytest.raises(UserError, match=remedy):
            teaching.open_teacher(str(path), ["a", "b"], replace(STUDENT, value_range=other))
    assert teaching.open_teacher(str(path), ["a", "b"], replace(STUDENT, value_range=(0.0, 4095.0)))
