"""Compare this package's models with their authors' released code: same weights, interleaved timing.

    git clone https://github.com/hustvl/MSG-Transformer /tmp/released/msg
    git clone https://github.com/OliverRensu/SG-Former /tmp/released/sg
    python benchmarks/released.py /tmp/released --output released.json

The clones need a network. One image of 224 x 224, one thread, float32. The released code runs unchanged in PyTorch's
eager mode. This package's models run in each backend with the same weights and must give the same logits. Run nothing
else on the machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msgformer.commands.benchmark import FORMATS, Backend
from msgformer.models.loading import checkpoint_filter_fn
from msgformer.profiling.backends import Setting, export_file, prepare_file, prepare_torch
from msgformer.runs.provenance import describe_machine
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.opened_model import name_model
from msgformer.utils.freed_memory import keep_freed_memory
from msgformer.utils.result import text_table
from msgformer.utils.timing import pair_ratios, spread, time_interleaved

SETTING = Setting("infer", "float32", torch.device("cpu"), 1, (224, 224))
BACKENDS: tuple[Backend, ...] = ("eager", "optimized", "compile", "onnxruntime", "openvino")
REFERENCE = "swin_tiny_patch4_window7_224"
WARM_UP = 4
TOLERANCE = 1e-9
"""Tolerance of the logits in float64, where rounding does not change the order of SG-Former's tokens."""

Run = Callable[[], object]


def load(path: Path) -> Any:
    """Load a file of the released code as a module."""
    if not path.is_file():
        sys.exit(f"{path} does not exist; clone the released code as described in --help")
    np.float = float  # type: ignore[attr-defined]  # alias of NumPy before 1.24, which the released code uses
    sys.path.insert(0, str(path.parent))
    spec = spec_from_file_location(f"released_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def released_msg(folder: Path) -> nn.Module:
    """Build MSG-Transformer-T with the settings of configs/msg_tiny_p4_win7_224.yaml."""
    module = load(folder / "msg" / "models" / "msg_transformer.py")
    return module.MSGTransformer(
        embed_dim=64, depths=[2, 4, 12, 4], num_heads=[2, 4, 8, 16], shuffle_size=[4, 4, 2, 1], manip_type="shuf"
    )


def released_sg(folder: Path) -> nn.Module:
    """Build SG-Former-S."""
    return load(folder / "sg" / "sgformer.py").sgformer_s()


RELEASED = {"msg_transformer_tiny": released_msg, "sgformer_small": released_sg}


@torch.inference_mode()
def check_equal(name: str, model: nn.Module, released: nn.Module, images: Tensor) -> None:
    """Print the difference between a model and the released code, and exit if it is larger than rounding.

    Args:
        name: Name for messages.
        model: Model of this package.
        released: Model of the released code.
        images: Inputs [B, C, H, W].
    """
    logits = [copy.deepcopy(one).double()(images.double()) for one in (model, released)]
    difference = (logits[0] - logits[1]).abs().max().item()
    print(f"{name}: float64 logits differ from the released code's by at most {difference:.1e}", flush=True)
    if difference > TOLERANCE:
        sys.exit(f"{name} does not match the released code")


def open_source(name: str) -> ExportSource:
    """Build a model with random weights."""
    model = name_model(name, SETTING.size)
    return model.task.export_source(model, SETTING.size)


def prepare_pair(
    name: str, released: nn.Module, images: Tensor, backends: Sequence[Backend], folder: Path
) -> dict[str, Run]:
    """Prepare a released model in eager mode, and this package's with the same weights in each backend.

    Args:
        name: Model of this package.
        released: Model of the released code.
        images: Inputs [B, C, H, W].
        backends: Backends of this package's model.
        folder: Folder for exported files.
    """
    source = open_source(name)
    source.module.load_state_dict(checkpoint_filter_fn(released.state_dict(), source.module))
    check_equal(name, source.module, released, images)
    runs = {f"{name}, released": prepare_torch(replace(source, module=released), "eager", images, SETTING).run}
    for backend in backends:
        print(f"preparing {name}, {backend}", file=sys.stderr, flush=True)
        if backend in FORMATS:
            ready = prepare_file(export_file(source, backend, len(images), folder), images, SETTING)
        else:
            ready = prepare_torch(source, backend, images, SETTING)
        runs[f"{name}, {backend}"] = ready.run
    return runs


def prepare_all(options: argparse.Namespace, folder: Path) -> dict[str, Run]:
    """Prepare everything to be timed, by name.

    Args:
        options: Command-line options.
        folder: Folder for exported files.
    """
    images = SETTING.images(1, 3)
    runs = {REFERENCE: prepare_torch(open_source(REFERENCE), "eager", images, SETTING).run}
    for name, make in RELEASED.items():
        torch.manual_seed(0)
        runs |= prepare_pair(name, make(options.released).eval(), images, options.backend, folder)
    runs |= {file.stem: prepare_file(file, images, SETTING).run for file in options.files}
    return runs


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("released", type=Path, help="folder with the clones msg and sg")
    parser.add_argument(
        "--backend", nargs="+", default=BACKENDS, choices=BACKENDS, help="backends of this package's models"
    )
    parser.add_argument("--files", type=Path, nargs="+", default=[], help="files of 'msgformer export' to time as well")
    parser.add_argument("--rounds", type=int, default=40, help="timed rounds")
    parser.add_argument("--output", type=Path, default=Path("released.json"), help="JSON file to write")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    with SETTING.applied(), tempfile.TemporaryDirectory() as folder:
        runs = prepare_all(options, Path(folder))
        seconds = dict(zip(runs, time_interleaved([*runs.values()], options.rounds, WARM_UP), strict=True))
        machine = describe_machine()
    print(table(seconds))
    packages = {name: version(name) for name in ("torch", "timm", "msgformer")}
    report = {"machine": machine, "packages": packages, "rounds": options.rounds, "seconds": seconds}
    options.output.write_text(json.dumps(report, indent=2) + "\n")


def table(seconds: dict[str, list[float]]) -> str:
    """Format one row per model: median time, and median ratios to the released models and to Swin."""
    others = [*(f"{name}, released" for name in RELEASED), REFERENCE]
    rows = [
        (
            name,
            f"{1000 * spread(mine).median:.1f}",
            *(f"{spread(pair_ratios(mine, seconds[other])).median:.3f}" for other in others),
        )
        for name, mine in seconds.items()
    ]
    return text_table(("MODEL", "MS", *(f"TO {other}" for other in others)), rows)


if __name__ == "__main__":
    main()
