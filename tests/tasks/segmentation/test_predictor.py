import numpy as np
import pytest
import torch
from PIL import Image

import msgformer
from commands.tiny_dense import BACKBONE

IMAGE = Image.fromarray(np.zeros((64, 64, 3), np.uint8))


def load_segmenter(num_classes):
    module = msgformer.create_segmenter("msg_transformer_tiny", "semantic_fpn", num_classes, channels=16, **BACKBONE)
    return msgformer.load(module.eval(), device="cpu")


def test_class_maps_of_more_than_255_classes_have_16_bits(tmp_path):
    model = load_segmenter(300)
    with torch.no_grad():
        model.module.decode_head.conv_seg.bias[255] = 99
    result = model.predict(IMAGE)
    assert (result.class_map.dtype, np.unique(result.class_map).tolist()) == (np.uint16, [255])
    result.to_image().save(tmp_path / "classes.png")
    assert (np.asarray(Image.open(tmp_path / "classes.png")) == 255).all()
    assert (np.asarray(result.draw(IMAGE)) != np.asarray(IMAGE)).any()  # 255 is a class here


def test_logits_that_are_not_numbers_are_refused():
    model = load_segmenter(3)
    torch.nn.init.constant_(model.module.decode_head.conv_seg.bias, torch.nan)
    with pytest.raises(msgformer.UserError, match=r"not numbers \(NaN\) in float32"):
        model.predict(IMAGE)
