"""Backends that are timed."""

import pytest
import torch

from commands.trained import open_source
from msgformer.errors import UserError
from msgformer.profiling import backends as benchmark_backends


@pytest.mark.parametrize(("backend", "forwards"), [("eager", 1), ("recompute", 2)])
def test_recomputing_runs_each_block_once_more(backend, forwards):
    setting = benchmark_backends.Setting("train", "float32", torch.device("cpu"), None, (64, 64))
    source = open_source("test_vit", (64, 64))
    ready = benchmark_backends.prepare_torch(source, backend, setting.images(2, 3), setting)
    calls = []
    ready.model.blocks[0].attn.register_forward_hook(lambda *_: calls.append(backend))
    ready.run()
    assert len(calls) == forwards
    with pytest.raises(UserError, match="backend recompute: test_vit doesn't support it"):
        benchmark_backends.enable_grad_checkpointing(torch.nn.Identity(), "test_vit", "backend recompute")


@pytest.mark.parametrize(("mode", "dtype"), [("train", torch.float32), ("infer", torch.bfloat16)])
def test_training_is_timed_in_float32(mode, dtype):
    setting = benchmark_backends.Setting(mode, "bf16", torch.device("cpu"), None, (64, 64))
    assert setting.dtype == dtype
