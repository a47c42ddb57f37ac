"""Initial weights from another run: class rows by name, other parts by shape."""

import pytest
import torch

from msgformer import create_model
from msgformer.checkpoints.card import ModelCard
from msgformer.errors import UserError
from msgformer.heads import create_detector, create_segmenter
from msgformer.tasks.initial_weights import ClassRows, load_dense_weights, load_initial_weights, match_rows
from msgformer.tasks.pretrained import save_pretrained

BACKBONE = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "img_size": 64}
KNOWN, CLASSES = ["a", "b", "c"], ["c", "new", "a", "b"]


def detector(head="faster_rcnn", classes=3, seed=0, **options):
    torch.manual_seed(seed)
    sizes = {"channels": 8, "fc_channels": 8, **BACKBONE}
    return create_detector("msg_transformer_tiny", head, classes, **{**sizes, **options})


def save(model, path, task):
    checkpoint = {"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}
    ModelCard("msg_transformer_tiny", {}, KNOWN, {}, task=task).write(checkpoint)
    torch.save(checkpoint, path)
    return str(path)


def test_rows_per_class_and_background_follow_the_names():
    source = torch.arange(2 * 7.0).reshape(14, 1)  # 2 anchors, 2 rows for each of 3 classes, background
    own = -torch.ones(2 * 9, 1)
    found = match_rows(source, own, KNOWN, CLASSES, ClassRows(per_class=2, background=True)).reshape(2, 9)
    assert found[0].tolist() == [4, 5, -1, -1, 0, 1, 2, 3, 6]
    assert torch.equal(found[1][[0, 1, 4, 5, 6, 7, 8]], found[0][[0, 1, 4, 5, 6, 7, 8]] + 7)


@pytest.mark.parametrize("head", ["faster_rcnn", "mask_rcnn", "cascade_mask_rcnn", "retinanet"])
def test_a_detector_starts_from_one_of_other_classes(head, tmp_path, capsys):
    source, model = detector(head), detector(head, 4, seed=1)
    load_dense_weights(model, save(source, tmp_path / "x.ckpt", "detect"), CLASSES, "detect")
    assert capsys.readouterr().err == "init_from: 3 of 4 classes matched by name; 1 new\n"
    before, after = source.state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    differing = {name.split(".")[-2] for name in after if before[name].shape != after[name].shape}
    assert all(torch.equal(after[name], before[name]) for name in after if before[name].shape == after[name].shape)
    if head == "retinanet":
        assert differing == {"cls_logits"}
        name = "head.classification_head.cls_logits.weight"
        old, new = (one[name].unflatten(0, (9, -1)) for one in (before, after))
        assert torch.equal(new[:, [0, 2, 3]], old[:, [2, 0, 1]])
        return
    assert differing == {"fc_cls", "fc_reg"} | ({"conv_logits"} if "mask" in head else set())
    for name in (name for name in after if before[name].shape != after[name].shape):
        rows = {"fc_reg": 4}.get(name.split(".")[-2], 1)
        index = torch.tensor([[k * rows + r for r in range(rows)] for k in (2, 0, 1)]).flatten()
        place = torch.tensor([[k * rows + r for r in range(rows)] for k in (0, 2, 3)]).flatten()
        assert torch.equal(after[name][place], before[name][index])
        if "fc_cls" in name:
            assert torch.equal(after[name][-1], before[name][-1])


def test_both_heads_of_a_segmenter_start_from_another(tmp_path):
    source, model = (create_segmenter("msg_transformer_tiny", "upernet", k, channels=8, **BACKBONE) for k in (3, 4))
    load_dense_weights(model, save(source, tmp_path / "x.ckpt", "segment"), CLASSES, "segment")
    for head in ("decode_head", "auxiliary_head"):
        old, new = (one.state_dict()[f"{head}.conv_seg.weight"] for one in (source, model))
        assert torch.equal(new[[0, 2, 3]], old[[2, 0, 1]])


def test_parts_of_another_kind_are_named_and_left_out(tmp_path, capsys):
    source, model = detector("faster_rcnn"), detector("mask_rcnn", 4, seed=1)
    load_dense_weights(model, save(source, tmp_path / "x.ckpt", "detect"), CLASSES, "detect")
    assert "; 1 new; not loaded, because it differs: roi_heads.mask_head\n" in capsys.readouterr().err
    wide = detector("faster_rcnn", 4, seed=1, channels=16)
    load_dense_weights(wide, str(tmp_path / "x.ckpt"), CLASSES, "detect")
    assert "differs: backbone.fpn, rpn, roi_heads.bbox_head\n" in capsys.readouterr().err


def test_another_backbone_or_task_is_refused(tmp_path):
    file = save(detector(), tmp_path / "x.ckpt", "detect")
    with pytest.raises(UserError, match=r"x\.ckpt doesn't fit the backbone of RCNN: .* give weights of the same"):
        load_dense_weights(detector(embed_dim=32), file, CLASSES, "detect")
    with pytest.raises(UserError, match="is a model of --task detect, not segment"):
        load_dense_weights(
            create_segmenter("msg_transformer_tiny", num_classes=3, channels=8, **BACKBONE), file, KNOWN, "segment"
        )


def test_a_saved_folder_has_class_names(tmp_path, capsys):
    torch.manual_seed(0)
    source, model = (create_model("msg_transformer_tiny", num_classes=2, **BACKBONE) for _ in range(2))
    preprocessing = {
        **{"input_size": [3, 64, 64], "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3},
        **{"crop_pct": 0.9, "crop_mode": "center"},
    }
    save_pretrained(source, tmp_path / "saved", class_names=["b", "a"], preprocessing=preprocessing)
    for path in (tmp_path / "saved", tmp_path / "saved" / "model.safetensors"):
        load_initial_weights(model, str(path), ["a", "b"])
        assert capsys.readouterr().err == "init_from: 2 of 2 classes matched by name\n"
        assert torch.equal(model.head.fc.weight, source.head.fc.weight[[1, 0]])


def test_files_without_class_names_are_said_to_have_none(tmp_path, capsys):
    model = create_model("msg_transformer_tiny", num_classes=2, **BACKBONE)
    torch.save(model.state_dict(), tmp_path / "x.pth")
    load_initial_weights(model, str(tmp_path / "x.pth"), ["a", "b"])
    assert "x.pth has no class names; the classifier is loaded by the numbers of the classes" in capsys.readouterr().err
