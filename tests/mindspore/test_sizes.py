"""Images of any size, in both modes, with the padding of the PyTorch models."""

import mindspore as ms
import numpy as np
import pytest
import torch
from golden import relative_error
from small import SMALL, pair

from models.fill import fill


@pytest.fixture(params=["PyNative", "graph"])
def mode(request):
    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield request.param
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.mark.parametrize("size", [pytest.param((64, 64), marks=pytest.mark.slow), (83, 122)])
@pytest.mark.parametrize("kind", SMALL)
def test_logits_and_gradients_equal_pytorch(kind, size, mode):
    theirs, ours = pair(kind, ms.float64)
    image = fill("image", (2, 3, *size)).requires_grad_()
    cotangent = fill("cotangent", (2, 5))
    logits = theirs(image)
    (logits * cotangent).sum().backward()

    weight = dict(ours.parameters_and_names())["patch_embed.norm.gamma"]
    weigh = ms.Tensor(cotangent.numpy())

    def loss(image):
        logits = ours(image)
        return (logits * weigh).sum(), logits

    step = ms.value_and_grad(loss, 0, [weight], has_aux=True)
    (_, found), (image_grad, gradients) = step(ms.Tensor(image.detach().numpy()))
    assert relative_error(found.asnumpy(), logits.detach()) <= 1e-9
    assert relative_error(image_grad.asnumpy(), image.grad) <= 1e-9
    assert relative_error(gradients[0].asnumpy(), theirs.patch_embed.norm.weight.grad) <= 1e-9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_and_nearly_equal_significance_is_ranked_as_in_pytorch(dtype):
    from msgformer.mindspore import reallocation as ours
    from msgformer.models import reallocation as theirs

    random = np.random.default_rng(0)
    near = 1e-12 * random.integers(0, 9, (3, 20, 31))  # all the same in single precision
    significance = (random.integers(1, 4, (3, 20, 31)) + near).astype(dtype)
    for rank in ("rank_by_row", "rank_by_column"):
        found = getattr(ours, rank)(ms.Tensor(significance)).asnumpy()
        assert (found == getattr(theirs, rank)(torch.from_numpy(significance)).numpy()).all()
