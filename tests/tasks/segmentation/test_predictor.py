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


def test_more_classes_than_a_class_map_holds_are_refused():
    with pytest.raises(msgformer.UserError, match="has 256 classes, but class maps hold at most 255"):
        load_segmenter(256).predict(IMAGE)


def test_logits_that_are_not_numbers_are_refused():
    model = load_segmenter(3)
    torch.nn.init.constant_(model.module.decode_head.conv_seg.bias, torch.nan)
    with pytest.raises(msgformer.UserError, match=r"not numbers \(NaN\) in float32"):
        model.predict(IMAGE)
