import numpy as np
import pytest
from PIL import Image

import msgformer
from commands.tiny_dense import BACKBONE


def test_more_classes_than_a_class_map_holds_are_refused():
    module = msgformer.create_segmenter("msg_transformer_tiny", "semantic_fpn", 256, channels=16, **BACKBONE)
    model = msgformer.load(module.eval(), device="cpu")
    with pytest.raises(msgformer.UserError, match="has 256 classes, but class maps hold at most 255"):
        model.predict(Image.fromarray(np.zeros((64, 64, 3), np.uint8)))
