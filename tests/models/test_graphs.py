"""Captured graphs, compiled or exported, support many sizes."""

import pytest
import torch
from torch.export import Dim
from torch.utils.flop_counter import FlopCounterMode

from msgformer.models import create_model
from msgformer.optimized.optimize import optimize

SHALLOW = {
    "msg_transformer_tiny": {"embed_dim": 32, "num_heads": (1, 2, 4, 8), "depths": (1, 1, 2, 1)},
    "msg_transformer_v1_tiny": {"embed_dim": 32, "num_heads": (1, 2, 4, 8), "depths": (1, 1, 2, 1)},
    "sgformer_small": {"embed_dims": (32, 64, 128, 256), "depths": (2, 1, 2, 1)},
}
# Small and large, square and not, whole windows and none; one window in stage 4 (up to 224) and more.
SIZES = [(200, 224), (32, 32), (64, 96), (97, 131), (256, 192), (255, 257)]
MORE_SIZES = [(320, 224), (48, 200), (113, 64), (160, 160), (500, 75), (36, 416)]


def shallow(name, seed=0):
    torch.manual_seed(seed)
    # Sixteen channel groups and more are exchanged in regions of 4 x 4, whatever the width.
    extra = {"shuffle_sizes": (4, 4, 4, 4)} if name.startswith("msg") else {}
    return create_model(name, num_classes=7, **SHALLOW[name], **extra).eval()


def unchanged(model):
    return model


def count_graphs(model, sizes, batch):
    """Graphs that a dynamic compilation makes of these sizes, each compared with the model itself."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for size in sizes:
            x = torch.randn(batch, 3, *size)
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
    return len(graphs)


@pytest.mark.parametrize("change", [unchanged, pytest.param(optimize, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_small"])
def test_one_graph_supports_many_sizes(name, change):
    # An optimized SG-Former has a graph of its own where a side is that of its position embedding.
    limit = 2 if change is optimize and name.startswith("sg") else 1
    assert count_graphs(change(shallow(name)), [SIZES[0], *SIZES[2:]], batch=2) <= limit


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", SHALLOW)
def test_at_most_four_graphs_over_twelve_sizes(name, batch):
    assert count_graphs(shallow(name), SIZES + MORE_SIZES, batch) <= 4


@pytest.mark.slow  # tests/exporters/test_formats.py does it for smaller models
@pytest.mark.parametrize("change", [unchanged, optimize])
@pytest.mark.parametrize("name", SHALLOW)
def test_export_runs_at_unseen_sizes(name, change):
    model = shallow(name)
    dims = {0: Dim("batch", min=1, max=64), 2: Dim("height", min=33, max=2048), 3: Dim("width", min=33, max=2048)}
    program = torch.export.export(change(model), (torch.randn(2, 3, 100, 140),), dynamic_shapes=(dims,))
    exported = program.module(check_guards=False)  # its guards exclude windows in one row, its graph does not
    for shape in [(1, 3, 224, 224), (2, 3, 33, 40), (3, 3, 97, 131), (1, 3, 300, 64)]:
        x = torch.randn(shape)
        torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_small"])
def test_inductor_output_is_equal(name):
    model = shallow(name)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_jit_trace_output_is_equal(name):
    model = shallow(name)
    x = torch.randn(1, 3, 64, 96)
    traced = torch.jit.trace(model, x, check_trace=False)
    torch.testing.assert_close(traced(x), model(x))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", SHALLOW)
def test_flop_counter_works(name, grad):
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(grad):
        shallow(name)(torch.randn(1, 3, 64, 64))
    assert counter.get_total_flops() > 1e6
