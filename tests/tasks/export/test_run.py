from dataclasses import asdict

import torch

from commands.tiny_dense import BACKBONE
from msgformer.checkpoints.card import ModelCard
from msgformer.commands.predict import predict
from msgformer.config.dense_data_options import SegmentImageOptions
from msgformer.data.bundled.scenes import load_photograph
from msgformer.heads import create_segmenter
from msgformer.tasks.export.run import run_export
from msgformer.tasks.opened_model import OpenedModel


def test_segmenter_of_fixed_size_is_verified_on_photographs_and_predicts(tmp_path):
    torch.manual_seed(0)
    model = create_segmenter("msg_transformer_tiny", "semantic_fpn", 3, channels=16, **BACKBONE).eval()
    options = SegmentImageOptions(short_side=64, long_side=64)
    card = ModelCard("msg_transformer_tiny", {}, ["a", "b", "c"], asdict(options), task="segment")
    path = tmp_path / "model.pt2"
    opened = OpenedModel(card, model)
    options = {"dynamic_batch": False, "dynamic_size": False, "int8": False}
    source = opened.task.export_source(opened, (64, 64))
    exported, description, verification = run_export(source, "torch-export", path, 1, None, **options)
    assert (exported.task, exported.mean) == ("segment", model.mean)
    assert "photographs" in description
    assert verification.max_difference < 1e-5
    load_photograph("astronaut").save(tmp_path / "square.png")
    result = predict(path, [tmp_path / "square.png"], device="cpu", progress="none")
    assert sum(result.predictions[0].classes.values()) > 99.9
