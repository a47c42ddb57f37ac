"""Files of ONNX and their sessions."""

import pytest

from exporters.tiny_models import small, static_card


@pytest.mark.parametrize("threads", [1, 2])
def test_a_session_has_the_given_number_of_threads(threads, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from msgformer.exporters.formats.onnx import OnnxSession

    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("images", "out")]
    node = onnx.helper.make_node("Identity", ["images"], ["out"])
    graph = onnx.helper.make_graph([node], "identity", values[:1], values[1:])
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "model.onnx")
    session = OnnxSession(tmp_path / "model.onnx", static_card(small(0), "onnx"), "cpu", threads)
    assert session._session.get_session_options().intra_op_num_threads == threads
