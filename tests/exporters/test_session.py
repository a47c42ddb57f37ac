"""Sessions of exported files."""

import torch

from exporters.tiny_models import small, static_card
from msgformer.exporters.session import Session


def test_sessions_pad_the_last_batch_and_crop_its_outputs(tmp_path):
    class Doubling(Session):
        def run(self, images):
            assert len(images) == 2
            return [2 * images]

    session = Doubling(tmp_path, static_card(small(0)))
    images = torch.randn(3, 3, 16, 24)
    assert torch.equal(session(images)[0], 2 * images)
