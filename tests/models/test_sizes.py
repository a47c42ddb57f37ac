"""Images of any size: all pixels are used, and sizes may change between batches."""

import math

import pytest
import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed

from msgformer.models import chunked_attention, create_model
from msgformer.models.guided_attention import HybridAttention
from msgformer.models.window import pad_to_multiple, to_rows

MSG = {"embed_dim": 32, "num_heads": (1, 2, 4, 8), "depths": (2, 1, 2, 1), "num_classes": 7}
SETTINGS = {
    "msg_transformer_tiny": MSG,
    "msg_transformer_v1_tiny": MSG,
    "sgformer_small": {"embed_dims": (32, 64, 96, 128), "depths": (2, 2, 2, 1), "num_classes": 7},
}
SIZES = [(32, 32), (33, 47), (64, 96), (97, 131), (224, 160)]
MSG_NAMES = ["msg_transformer_tiny", "msg_transformer_v1_tiny"]


@pytest.fixture(scope="module")
def models():
    """In float64: an order of tokens that turns on rounding is no part of these tests."""
    torch.manual_seed(0)
    return {name: create_model(name, **settings).double().eval() for name, settings in SETTINGS.items()}


@pytest.fixture(params=SETTINGS)
def model(request, models):
    return models[request.param]


def images(batch, *size, seed=1):
    return torch.randn(batch, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_any_size_gives_finite_maps_of_its_size(model, size):
    features, maps = model.forward_intermediates(images(1, *size))
    height, width = size[0] / 4, size[1] / 4
    for index, map_ in enumerate(maps):
        scale = 2**index
        assert map_.shape[2:] == (math.ceil(math.ceil(height) / scale), math.ceil(math.ceil(width) / scale))
        assert map_.isfinite().all()
        assert map_.std() > 0
    logits = model.forward_head(features)
    assert logits.shape == (1, 7)
    assert logits.isfinite().all()


@torch.no_grad()
def test_sizes_may_change_between_batches(model):
    first = model(images(2, 64, 96))
    model(images(1, 97, 131))
    assert torch.equal(model(images(2, 64, 96)), first)


@pytest.mark.parametrize("size", [(32, 32), (61, 90)])
@torch.no_grad()
def test_outputs_do_not_depend_on_the_batch(model, size):
    batch = images(3, *size)
    features, maps = model.forward_intermediates(batch)
    for index in range(3):
        alone, own_maps = model.forward_intermediates(batch[index : index + 1])
        torch.testing.assert_close(features[index], alone[0])
        for map_, own in zip(maps, own_maps, strict=True):
            torch.testing.assert_close(map_[index], own[0])


@pytest.mark.parametrize("size", [(33, 47), (34, 33), (35, 49), (57, 61)])
def test_last_row_and_column_of_pixels_are_used(model, size):
    image = images(1, *size).requires_grad_()
    (model(image) * torch.arange(7)).sum().backward()
    influence = image.grad.abs().sum(dim=1)[0]
    assert (influence[-1] > 0).all()
    assert (influence[:, -1] > 0).all()
    assert (influence > 0).all()


@pytest.mark.parametrize("name", MSG_NAMES)
@torch.no_grad()
def test_an_image_is_zero_padded_to_whole_patches(models, name):
    model, image = models[name], images(1, 65, 98)
    torch.testing.assert_close(model(image), model(F.pad(image, (0, 2, 0, 3))))


@pytest.mark.parametrize("name", MSG_NAMES)
@torch.no_grad()
def test_a_map_is_zero_padded_to_whole_windows(models, name):
    stage = models[name].stages[0]
    patches = torch.randn(2, 9, 17, 32, dtype=torch.float64)
    messengers = torch.randn(2 * 2 * 3, 32, dtype=torch.float64)
    map_, after = stage(patches, messengers)
    padded, same = stage(pad_to_multiple(patches, (7, 7)), messengers)
    assert torch.equal(map_, padded[:, :9, :17])
    assert torch.equal(after, same)


@pytest.mark.parametrize("name", MSG_NAMES)
@pytest.mark.parametrize("size", [(33, 47), (97, 131), (226, 230)])
@torch.no_grad()
def test_every_window_has_a_messenger(models, name, size):
    model = models[name]
    for patches, messengers in model.forward_stages(images(2, *size)):
        rows, cols = math.ceil(patches.shape[1] / 7), math.ceil(patches.shape[2] / 7)
        assert messengers.shape == (2 * rows * cols, patches.shape[3])


@torch.no_grad()
def test_all_regions_start_from_the_same_messengers(models):
    model = models["msg_transformer_tiny"]
    grid = model.messenger_grid(patches := torch.zeros(2, 36, 64, 32), model.first_messengers(patches))
    assert grid.shape == (2, 6, 10, 32)
    for row in range(6):
        for col in range(10):
            wanted = model.msg_tokens[0, row % 4 * 4 + col % 4, 0]
            assert torch.equal(grid[:, row, col], wanted.expand(2, -1))


@pytest.mark.parametrize("name", MSG_NAMES)
@torch.no_grad()
def test_messengers_are_pooled_by_their_mean(models, name):
    model, image = models[name], images(1, 228, 240)
    features, [(_, messengers)] = model.forward_intermediates(image, 1, output_fmt="NHWC", return_messengers=True)
    assert messengers.shape == (1, 2, 2, 256)
    torch.testing.assert_close(features, model.norm(messengers))
    torch.testing.assert_close(model(image), model.head.fc(features.mean(dim=(1, 2))))


@pytest.mark.parametrize("name", MSG_NAMES)
@torch.no_grad()
def test_shuffle_sizes_of_dense_tasks_are_those_of_classification_at_224(models, name):
    model = create_model(name, **MSG, shuffle_sizes=(4, 4, 2, 1)).double().eval()
    model.load_state_dict(models[name].state_dict())
    image = images(1, 224, 224)
    assert torch.equal(model(image), models[name](image))
    assert not torch.allclose(model(images(1, 228, 228)), models[name](images(1, 228, 228)))


@torch.no_grad()
def test_exchange_connects_distant_windows():
    """A pixel changes the patch tokens of another window at once with the exchange, and not without."""
    settings = {**MSG, "depths": (2, 1, 1, 1)}
    for exchange, reaches in (("shuffle", True), ("none", False)):
        model = create_model("msg_transformer_v1_tiny", exchange=exchange, **settings).eval()
        image = torch.zeros(1, 3, 112, 112)
        changed = image.index_fill(2, torch.tensor([0]), 1.0)
        before, after = (next(iter(model.forward_stages(x)))[0] for x in (image, changed))
        assert not torch.equal(before[:, :7], after[:, :7])
        assert torch.equal(before[:, 7:], after[:, 7:]) != reaches


def hybrid(window=(3, 4), reduction=4):
    torch.manual_seed(0)
    attention = HybridAttention(
        8, num_heads=2, reduction=reduction, window=window, qkv_bias=True, attn_drop=0.0, proj_drop=0.0
    )
    return attention.double()


@torch.no_grad()
def test_windows_of_hybrid_attention_are_zero_padded():
    attention, x = hybrid(), torch.randn(2, 7, 10, 8, dtype=torch.float64)
    near, received = attention.attend_locally(x)
    padded, received_padded = attention.attend_locally(pad_to_multiple(x, (3, 4)))
    assert torch.equal(near, padded[:, :7, :10])
    assert torch.equal(received, received_padded[:, :7, :10])
    torch.testing.assert_close(received_padded[0, :3, :4].sum(), torch.tensor(1.0, dtype=torch.float64))


@torch.no_grad()
def test_reductions_of_hybrid_attention_are_zero_padded():
    attention, x = hybrid(), torch.randn(2, 7, 10, 8, dtype=torch.float64)
    wide, received = attention.attend_globally(x)
    padded = pad_to_multiple(x, (4, 4))
    torch.testing.assert_close(wide, attention.attend_globally(padded)[0][:, :7, :10])

    reduced = attention.reduction(padded.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)  # [B, 2 * 3, C]
    key, _ = attention.kv_global(F.gelu(attention.reduction_norm(reduced))).chunk(2, dim=-1)
    query = attention.q_global(to_rows(x)).unflatten(0, (2, -1))
    weights = (query @ key.transpose(1, 2) / math.sqrt(4)).softmax(dim=-1).mean(dim=1)  # the global head is one
    wanted = F.interpolate(weights.view(2, 1, 2, 3), scale_factor=4)[:, 0, :7, :10]
    torch.testing.assert_close(received, wanted)


@pytest.mark.parametrize("most", [6 * 16, 1])
def test_large_maps_compute_scores_in_chunks(most, monkeypatch):
    attention, x = hybrid(), torch.randn(2, 7, 10, 8, dtype=torch.float64, requires_grad=True)

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    def attend():
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            wide, received = attention.attend_globally(x)
        (grad,) = torch.autograd.grad(wide.square().sum(), x)
        return wide, received, grad

    kept, scores = [], (2, 1, 70, 6)
    whole = attend()
    assert scores in kept
    monkeypatch.setattr(chunked_attention, "MAX_SCORES_PER_CHUNK", most)
    kept = []
    parts = attend()
    assert kept
    assert not [shape for shape in kept if len(shape) == 4 and shape[-2:] == scores[-2:]]
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(attention.attend_globally(x), whole[:2], rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_the_position_embedding_is_resampled_to_the_map(models):
    model = models["sgformer_small"]
    own = model.position((56, 56))
    assert torch.equal(own.flatten(1, 2), model.pos_embed)
    for size in ((25, 33), (8, 8), (80, 57)):
        wanted = resample_abs_pos_embed(
            model.pos_embed, list(size), [56, 56], num_prefix_tokens=0, interpolation="bicubic", antialias=False
        )
        torch.testing.assert_close(model.position(size).flatten(1, 2), wanted, rtol=1e-4, atol=1e-5)
