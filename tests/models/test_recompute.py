import pytest
import torch
from torch import nn

from msgformer.models.recompute import run_block


class Counter(nn.Linear):
    """A linear layer that counts its calls."""

    calls = 0

    def forward(self, x, scale):
        """Scale the output of the layer for tokens [n, C]."""
        self.calls += 1
        return scale * super().forward(x)


@pytest.mark.parametrize(("recompute", "calls"), [(False, 1), (True, 2)])
def test_block_is_computed_again_in_the_backward_pass(recompute, calls):
    """The gradient is the same; the block runs a second time only where it is recomputed."""
    block = Counter(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    run_block(block, x, 2.0, recompute=recompute).sum().backward()
    assert block.calls == calls
    torch.testing.assert_close(x.grad, 2 * block.weight.detach().sum(0).expand(4, 3))


def test_nothing_is_recomputed_without_gradients():
    """In evaluation the block is called directly, without a warning of torch's checkpoint."""
    block = Counter(3, 2)
    with torch.no_grad():
        run_block(block, torch.ones(1, 3), 1.0, recompute=True)
    assert block.calls == 1
