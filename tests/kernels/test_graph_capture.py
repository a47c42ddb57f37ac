import pytest
import torch
from torch import nn
from torch.export import Dim

from msgformer.kernels.graph_capture import are_fixed, is_captured, is_recorded, is_traced


class Probe(nn.Module):
    """Stores what the predicates return while the module runs."""

    def forward(self, x):
        """Store the predicates for a tensor [n, m] and return its double."""
        self.seen = is_traced(x), is_captured(x), is_recorded()
        if not is_traced(x):
            self.fixed = are_fixed(x.shape[0]), are_fixed(x.shape[1])
        return 2 * x


def test_outside_graphs_nothing_is_captured():
    """An ordinary call may branch on sizes and is not recorded."""
    probe = Probe()
    probe(torch.ones(2, 3))
    assert (probe.seen, probe.fixed) == ((False, False, False), (True, True))


def test_fx_trace_is_captured():
    """While torch.fx traces, inputs are proxies."""
    probe = Probe()
    torch.fx.symbolic_trace(probe)
    assert probe.seen[:2] == (True, True)


@pytest.mark.parametrize("dynamic", [False, True])
def test_export_is_captured(dynamic):
    """While torch.export captures, only static sizes may decide a branch."""
    probe = Probe()
    torch.export.export(probe, (torch.ones(2, 3),), dynamic_shapes=({0: Dim("n")} if dynamic else None,), strict=False)
    assert (probe.seen, probe.fixed) == ((False, True, True), (not dynamic, True))
