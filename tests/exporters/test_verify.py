"""Comparison of an exported file with its model."""

import pytest
import torch

from exporters.tiny_models import small, static_card
from msgformer.errors import UserError
from msgformer.exporters.runtime import open_session
from msgformer.exporters.verify import verify_logits
from msgformer.exporters.writer import write_export


def test_verification_detects_another_model(tmp_path):
    path = tmp_path / "model.pt2"
    write_export(small(0), static_card(small(0)), path)
    with pytest.raises(UserError, match="differs from the model by"):
        verify_logits(small(1), open_session(path), torch.rand(3, 3, 16, 24))


def test_the_last_batch_is_filled_for_a_file_of_fixed_batch(tmp_path):
    path = tmp_path / "model.pt2"
    write_export(small(0), static_card(small(0), batch=3), path)
    verification = verify_logits(small(0), open_session(path), torch.rand(4, 3, 16, 24))
    assert verification.images == 6
    assert verification.agreement == 100
