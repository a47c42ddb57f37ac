import pytest
from timm.optim import create_optimizer_v2

from heads.conftest import TINY, TINY_DETECTOR
from msgformer.heads import create_detector, create_segmenter

NAME = "msg_transformer_tiny"


@pytest.mark.parametrize("kind", ["mask_rcnn", "retinanet", "upernet", "swin"])
def test_norms_biases_and_bias_tables_are_not_decayed(kind):
    if kind == "upernet":
        model = create_segmenter(NAME, kind, 3, channels=16, **TINY)
    elif kind == "swin":
        tiny = {**TINY_DETECTOR, "img_size": 64}
        model = create_detector("swin_tiny_patch4_window7_224", "mask_rcnn", 3, **tiny)
    else:
        model = create_detector(NAME, kind, 3, **TINY_DETECTOR)
    exempt = model.no_weight_decay()
    assert {"bias_table" in name for name in exempt} >= {True}
    names = dict(model.named_parameters())
    assert exempt <= set(names)
    plain, decayed = create_optimizer_v2(model, opt="adamw", weight_decay=0.05).param_groups
    assert (plain["weight_decay"], decayed["weight_decay"]) == (0.0, 0.05)
    by_identity = {id(parameter): name for name, parameter in names.items()}
    for group, is_exempt in ((plain, True), (decayed, False)):
        for parameter in group["params"]:
            name = by_identity[id(parameter)]
            assert (parameter.ndim <= 1 or name.endswith(".bias") or name in exempt) == is_exempt
