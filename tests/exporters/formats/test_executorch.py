"""ExecuTorch files: one size, the outputs of the model, and the card in a separate method."""

import pytest
import torch

from msgformer.checkpoints.export_card import ExportCard
from msgformer.errors import UserError
from msgformer.exporters.program import export_sizes
from msgformer.exporters.runtime import open_session, read_card
from msgformer.exporters.verify import verify_logits
from msgformer.exporters.writer import write_export
from msgformer.models import create_model

pytest.importorskip("executorch")

MSG = {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2), "window_size": 2, "shuffle_sizes": (2, 2)}
SG = {"embed_dims": (16, 32), "depths": (2, 1), "num_heads": (2, 2), "reductions": (2, 1)}


def small(name, options):
    torch.manual_seed(0)
    return create_model(name, num_classes=3, **options).eval()


def card_of(model, name):
    sizes = export_sizes(model, (16, 24), 2, dynamic_batch=False, dynamic_size=False)
    return ExportCard("executorch", "classify", name, ["a", "b", "c"], {}, sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["msg_transformer_tiny", "msg_transformer_v1_tiny"])
def test_a_file_has_the_outputs_of_the_model(tmp_path, name):
    model = small(name, MSG)
    path, card = tmp_path / "model.pte", card_of(model, name)
    write_export(model, card, path)
    assert read_card(path) == card
    session = open_session(path)
    images = torch.randn(3, 3, 16, 24)  # one more than the file takes at once
    with torch.no_grad():
        torch.testing.assert_close(session(images)[0], model(images), rtol=1e-4, atol=1e-5)
    assert verify_logits(model, session, torch.rand(2, 3, 16, 24)).max_difference < 1e-5


def test_models_that_sort_are_refused(tmp_path):
    model = small("sgformer_small", SG)
    with pytest.raises(UserError, match="sgformer_small sorts tokens, which ExecuTorch can't; try --format onnx"):
        write_export(model, card_of(model, "sgformer_small"), tmp_path / "model.pte")
    assert not (tmp_path / "model.pte").exists()


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "model.pte"
    path.write_bytes(b"no program")
    with pytest.raises(UserError, match=r"model\.pte can't be read by ExecuTorch"):
        read_card(path)
