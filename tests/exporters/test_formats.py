"""Every format, for tiny models of every family: sizes and numbers of images that differ from the export."""

import json

import pytest
import torch

from msgformer.checkpoints.export_card import EXPORTED_SUFFIXES, SUFFIXES, ExportCard
from msgformer.errors import UserError
from msgformer.exporters.program import capture, export_sizes
from msgformer.exporters.runtime import ExportedModel, open_session, read_card
from msgformer.exporters.session import Session
from msgformer.exporters.verify import verify_logits
from msgformer.exporters.writer import stage_output, write_export
from msgformer.models import create_model
from msgformer.optimized.optimize import optimize

MSG = {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2), "window_size": 2, "shuffle_sizes": (2, 2)}
FAMILIES = {
    "msg_transformer_tiny": MSG,
    "msg_transformer_v1_tiny": MSG,
    "sgformer_small": {"embed_dims": (16, 32), "depths": (2, 1), "num_heads": (2, 2), "reductions": (2, 1)},
}
SHAPES = [(1, 3, 9, 10), (3, 3, 33, 47), (2, 3, 64, 64)]  # the smallest grid, no whole windows, whole windows
CLASSES = ["a", "b", 'c "quoted" <é>']


class Family:
    """A tiny model, and its export for any size, captured once for all formats."""

    def __init__(self, name):
        torch.manual_seed(0)
        self.name = name
        self.model = create_model(name, num_classes=3, **FAMILIES[name]).eval()
        self.sizes = export_sizes(self.model, (64, 64), 1, dynamic_batch=True, dynamic_size=True)
        self.program = capture(optimize(self.model), self.sizes)  # as `msgformer export` does

    def card(self, format, **changes):
        return ExportCard(format, "classify", self.name, CLASSES, {"crop_pct": 0.9}, self.sizes, **changes)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if "v1" in name else ()) for name in FAMILIES],
)
def family(request):
    return Family(request.param)


@pytest.fixture(scope="module")
def onnx_model(family):
    pytest.importorskip("onnxscript")
    from msgformer.exporters.formats.onnx import to_onnx

    return to_onnx(family.program, family.card("onnx"))


def write(family, onnx_model, format, path):
    if format == "torch-export":
        from msgformer.exporters.formats.torch import save_program

        save_program(family.program, family.card(format), path)
    elif format == "onnx":
        path.write_bytes(onnx_model.SerializeToString())
    else:
        pytest.importorskip("openvino")
        from msgformer.exporters.formats.openvino import save_openvino, to_openvino

        save_openvino(to_openvino(onnx_model, family.card(format)), path)


@pytest.mark.parametrize("format", ["onnx", "openvino", "torch-export"])
def test_a_file_runs_at_other_sizes_and_holds_its_card(family, onnx_model, format, tmp_path):
    path = tmp_path / f"model{SUFFIXES[format]}"
    write(family, onnx_model, format, path)
    card = read_card(path)
    assert card == family.card(format)
    session = open_session(path, "cpu")
    model = ExportedModel(session)
    for shape in SHAPES:
        images = torch.randn(shape)
        with torch.no_grad():
            torch.testing.assert_close(model(images), family.model(images), rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match=r"takes images of 9\.\.4096 x 9\.\.4096 pixels, not of 8 x 64"):
        model(torch.zeros(1, 3, 8, 64))
    found = verify_logits(family.model, session, torch.rand(3, 3, 64, 64))
    assert found.max_difference < 1e-4
    assert (found.significance_difference is not None) == family.name.startswith("sg")


def test_onnx_names_its_sizes_and_no_local_paths(family, onnx_model):
    (images,) = onnx_model.graph.input
    assert [size.dim_param or size.dim_value for size in images.type.tensor_type.shape.dim] == [
        "batch",
        3,
        "height",
        "width",
    ]
    assert json.loads(onnx_model.metadata_props[0].value)["classes"] == CLASSES
    assert b".py" not in onnx_model.SerializeToString()


@pytest.mark.parametrize("family", ["sgformer_small"], indirect=True)  # it has what is hardest to quantize
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8(family, onnx_model, format, tmp_path):
    pytest.importorskip("nncf")
    from msgformer.exporters.formats.onnx import set_card
    from msgformer.exporters.formats.openvino import save_openvino, to_openvino
    from msgformer.exporters.int8 import quantize

    card = family.card(format, precision="int8")
    pictures = torch.rand(4, 3, 64, 64)
    path = tmp_path / f"model{SUFFIXES[format]}"
    if format == "onnx":
        quantized = quantize(onnx_model, list(pictures.split(2)))
        set_card(quantized, card)
        path.write_bytes(quantized.SerializeToString())
    else:
        save_openvino(quantize(to_openvino(onnx_model, card), list(pictures.split(2))), path)
    assert read_card(path).precision == "int8"
    found = verify_logits(family.model, open_session(path, "cpu"), pictures)
    assert 0 < found.max_difference < 0.5


def small(seed):
    torch.manual_seed(seed)
    return create_model("msg_transformer_tiny", num_classes=3, **MSG).eval()


def static_card(model, format="torch-export", batch=2):
    sizes = export_sizes(model, (16, 24), batch, dynamic_batch=False, dynamic_size=False)
    return ExportCard(format, "classify", "msg_transformer_tiny", CLASSES, {}, sizes)


def test_int8_of_one_fixed_size_where_layers_share_weights(tmp_path):
    pytest.importorskip("nncf")
    from msgformer.exporters.formats.onnx import to_onnx
    from msgformer.exporters.formats.openvino import save_openvino, to_openvino
    from msgformer.exporters.int8 import quantize

    torch.manual_seed(0)
    three_stages = {**MSG, "depths": (1, 1, 1), "num_heads": (1, 2, 4), "shuffle_sizes": (2, 2, 2)}
    model = create_model("msg_transformer_tiny", num_classes=3, **three_stages).eval()
    sizes = export_sizes(model, (32, 32), 2, dynamic_batch=False, dynamic_size=False)
    card = ExportCard("openvino", "classify", "msg_transformer_tiny", CLASSES, {}, sizes, precision="int8")
    quantized = quantize(to_openvino(to_onnx(capture(model, sizes), card), card), [torch.rand(2, 3, 32, 32)])
    save_openvino(quantized, tmp_path / "model.xml")
    session = open_session(tmp_path / "model.xml", "cpu")
    assert 0 < verify_logits(model, session, torch.rand(2, 3, 32, 32)).max_difference < 0.5


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_of_an_optimized_model_whose_layers_become_convolutions(format, tmp_path):
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    model = create_model("sgformer_small", num_classes=3, **FAMILIES["sgformer_small"]).eval()
    sizes = export_sizes(model, (32, 32), 2, dynamic_batch=False, dynamic_size=False)
    card = ExportCard(format, "classify", "sgformer_small", CLASSES, {}, sizes, precision="int8")
    path = tmp_path / f"model{SUFFIXES[format]}"
    write_export(optimize(model), card, path, [torch.rand(2, 3, 32, 32)])
    assert 0 < verify_logits(model, open_session(path, "cpu"), torch.rand(2, 3, 32, 32)).max_difference < 0.5


def test_a_file_for_one_size_and_number_takes_any_number_of_images(tmp_path):
    model, path = small(0), tmp_path / "model.pt2"
    write_export(model, static_card(model), path)
    session = open_session(path)
    images = torch.randn(5, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(session(images)[0], model(images))
    with pytest.raises(UserError, match=r"takes images of 16 x 24 pixels, not of 16 x 16; export it with"):
        session(images[..., :16])


def test_verification_detects_another_model(tmp_path):
    path = tmp_path / "model.pt2"
    write_export(small(0), static_card(small(0)), path)
    with pytest.raises(UserError, match="differs from the model by"):
        verify_logits(small(1), open_session(path), torch.rand(3, 3, 16, 24))


def write_half(output):
    with stage_output(output) as path:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")


def test_a_failed_export_leaves_no_file(tmp_path):
    with pytest.raises(UserError, match=r"output '.*model\.onnx' can't be written: No space"):
        write_half(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.onnx").write_bytes(b"old")
    with stage_output(tmp_path / "old.onnx") as path:
        path.write_bytes(b"new")
    assert (tmp_path / "old.onnx").read_bytes() == b"new"


@pytest.mark.parametrize("suffix", EXPORTED_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"<?xml"])
def test_damaged_files_are_named(suffix, content, tmp_path):
    for package, needed_by in (("onnx", ".onnx"), ("openvino", ".xml")):
        if suffix == needed_by:
            pytest.importorskip(package)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(UserError, match="model"):
        open_session(path)


def test_sessions_pad_the_last_batch_and_crop_its_outputs(tmp_path):
    class Doubling(Session):
        def run(self, images):
            assert len(images) == 2
            return [2 * images]

    session = Doubling(tmp_path, static_card(small(0)))
    images = torch.randn(3, 3, 16, 24)
    assert torch.equal(session(images)[0], 2 * images)


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
