import numpy as np
import pytest
import torch

import msgformer


def test_logits_that_are_not_numbers_are_refused():
    module = msgformer.create_model(
        "msg_transformer_tiny", num_classes=3, embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), img_size=32
    )
    torch.nn.init.constant_(module.head.fc.bias, torch.nan)
    model = msgformer.load(module.eval(), device="cpu")
    with pytest.raises(msgformer.UserError, match=r"not numbers \(NaN\) in float32; give --precision float32, or"):
        model.predict(np.zeros((32, 32, 3), np.uint8))
