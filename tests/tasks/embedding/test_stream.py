"""Pooled features of single images, batches and streams."""

import numpy as np
import pytest
import torch

import msgformer
from tasks.embedding.pooled import pooled_features
from tasks.tiny_runs import run_of_each_task

CPU = ("--device", "cpu", "--workers", "0", "--progress", "none")
run = run_of_each_task


@pytest.fixture(scope="module")
def expected(model, run):
    return pooled_features(model, run.images)


def test_features_equal_those_of_the_module(model, run, expected):
    found = model.embed(run.images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    one = model.embed(run.images[1])
    assert one.shape == (expected.shape[1],)
    np.testing.assert_allclose(one, expected[1], atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images differ
    assert all(torch.isfinite(value).all() for value in model.module.state_dict().values() if value.is_floating_point())


@pytest.mark.parametrize("batch_size", [1, 2])
def test_features_do_not_depend_on_batches(batch_size, model, run, expected):
    np.testing.assert_allclose(model.embed(run.images, batch_size=batch_size, workers=0), expected, atol=1e-4)
    np.testing.assert_allclose(model.embed(iter(run.images), batch_size=batch_size), expected, atol=1e-4)


def test_optimized_copy_is_created_once(model, run, monkeypatch):
    model.embed(run.images[0])
    monkeypatch.setattr(type(model.opened), "for_inference", None)
    model.embed(run.images[0])


def test_few_images_are_in_memory_at_once(runs, tmp_path):
    run, taken = runs("classify"), []

    def images():
        for number in range(40):
            taken.append(number)
            yield np.full((16, 16, 3), number, np.uint8)

    model = msgformer.load(run.folder, device="cpu")
    compute, ahead = model.opened.embedder(model.config), []

    def compute_and_count(inputs):
        ahead.append(len(taken) - sum(seen))
        seen.append(len(inputs))
        return compute(inputs)

    seen: list[int] = []
    model.opened._embedders = dict.fromkeys(model.opened._embedders, compute_and_count)
    msgformer.embed(model, images(), output=tmp_path / "out.npy", batch_size=4, workers=0, progress="none")
    assert sum(seen) == 40
    assert max(ahead) <= 8
