"""Operators that are translated to ONNX's own."""

import pytest
import torch

from msgformer.exporters.formats.onnx_ops import OPSET, translations
from msgformer.exporters.graph.nms import fixed_size_nms


class Suppressing(torch.nn.Module):
    def forward(self, scores):
        corner = torch.arange(12.0).view(1, 6, 2)
        return fixed_size_nms(torch.cat([corner, corner + 4], dim=-1), scores, 3, 0.1, 0.3)


def test_nms_is_onnxs_operator(tmp_path):
    pytest.importorskip("onnxscript")
    import onnxruntime

    scores = torch.tensor([[[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.2, 0.3, 0.31, 0.9, 0.1, 0.32]]])
    program = torch.export.export(Suppressing(), (scores,))
    torch.onnx.export(program, custom_translation_table=translations(), opset_version=OPSET, verbose=False).save(
        tmp_path / "model.onnx"
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (left,) = session.run(None, {session.get_inputs()[0].name: scores.numpy()})
    assert torch.equal(torch.from_numpy(left), Suppressing()(scores))
    assert left.sum() == 5
