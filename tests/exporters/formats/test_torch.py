"""Files of torch.export and of AOTInductor."""

import pytest
import torch

from exporters.tiny_models import CLASSES, small, static_card
from msgformer.checkpoints.export_card import ExportCard
from msgformer.errors import UserError
from msgformer.exporters.program import export_sizes
from msgformer.exporters.runtime import open_session, read_card
from msgformer.exporters.verify import verify_logits
from msgformer.exporters.writer import write_export
from msgformer.optimized.optimize import optimize


def test_a_file_of_fixed_batch_size_accepts_any_number_of_images(tmp_path):
    model, path = small(0), tmp_path / "model.pt2"
    write_export(model, static_card(model), path)
    session = open_session(path)
    images = torch.randn(5, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(session(images)[0], model(images))
    with pytest.raises(UserError, match=r"takes images of 16 x 24 pixels, not of 16 x 16; export it with"):
        session(images[..., :16])


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Inductor takes minutes for a graph of all sizes
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_ahead_of_time(dynamic, tmp_path):
    model, path = small(0), tmp_path / "model.pt2"
    sizes = export_sizes(model, (16, 24), 2, dynamic_batch=dynamic, dynamic_size=dynamic)
    card = ExportCard("aoti", "classify", "msg_transformer_tiny", CLASSES, {}, sizes)
    write_export(optimize(model), card, path)
    assert read_card(path).format == "aoti"
    with pytest.raises(UserError, match="contains machine code; give --trust true"):
        open_session(path)
    assert verify_logits(model, open_session(path, trust=True), torch.rand(3, 3, 16, 24)).max_difference < 1e-4
