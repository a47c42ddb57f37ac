from dataclasses import asdict

import torch
from msgformer.api.dense_predicting import predict_dense
from msgformer.api.exporting import Source, run_export

from api.tiny_dense import BACKBONE
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.data.inputs import find_inputs
from msgformer.data.scenes import load_photograph
from msgformer.dense import create_segmenter
from msgformer.training.checkpoint import ModelCard


def test_a_segmenter_for_one_size_is_checked_on_photographs_and_answers(tmp_path):
    torch.manual_seed(0)
    model = create_segmenter("msg_transformer_tiny", "semantic_fpn", 3, channels=16, **BACKBONE).eval()
    options = SegmentImageOptions(short_side=64, long_side=64)
    card = ModelCard("msg_transformer_tiny", {}, ["a", "b", "c"], asdict(options), task="segment")
    path = tmp_path / "model.pt2"
    options = {"dynamic_batch": False, "dynamic_size": False, "int8": False}
    exported, told, found = run_export(Source(model, card, (64, 64)), "torch-export", path, 1, None, **options)
    assert (exported.task, exported.mean) == ("segment", model.mean)
    assert "photographs" in told
    assert found.max_difference < 1e-5
    load_photograph("astronaut").save(tmp_path / "square.png")
    answer = predict_dense(path, find_inputs([str(tmp_path / "square.png")]), None, 0.5, "cpu", "32-true", "none")
    assert sum(answer.predictions[0].classes.values()) > 99.9
