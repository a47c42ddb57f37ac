"""This package's models timed beside the code that their authors released, with the same weights and in turns.

    git clone https://github.com/hustvl/MSG-Transformer /tmp/released/msg
    git clone https://github.com/OliverRensu/SG-Former /tmp/released/sg
    python benchmarks/released.py /tmp/released --output released.json

One image of 224 x 224, one thread, float32. The released code runs as it lies there, in PyTorch's eager mode; this
package's models run in each backend with its weights, and have to give its answers. Nothing else should run meanwhile.
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
from msgformer.profiling.backends import Setting, exported_file, ready_from_file, ready_in_torch
from msgformer.runs.provenance import describe_machine
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.opened_model import name_model
from msgformer.utils.freed_memory import keep_freed_memory
from msgformer.utils.result import text_table
from msgformer.utils.timing import pair_ratios, spread, time_interleaved

SETTING = Setting("infer", "float32", torch.device("cpu"), 1, (224, 224))
BACKENDS: tuple[Backend, ...] = ("eager", "optimized", "compile", "onnxruntime", "openvino")
YARDSTICK = "swin_tiny_patch4_window7_224"
WARM_UP = 4
CLOSE = 1e-9
"""Logits may differ by so much in float64, where rounding changes no order of SG-Former's tokens."""

Run = Callable[[], object]


def load(path: Path) -> Any:
    """A file of the released code as a module."""
    if not path.is_file():
        sys.exit(f"there is no {path}; clone the released code as --help says")
    np.float = float  # type: ignore[attr-defined]  # as NumPy called it then
    sys.path.insert(0, str(path.parent))
    spec = spec_from_file_location(f"released_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def released_msg(folder: Path) -> nn.Module:
    """MSG-Transformer-T, with what configs/msg_tiny_p4_win7_224.yaml says."""
    module = load(folder / "msg" / "models" / "msg_transformer.py")
    return module.MSGTransformer(
        embed_dim=64, depths=[2, 4, 12, 4], num_heads=[2, 4, 8, 16], shuffle_size=[4, 4, 2, 1], manip_type="shuf"
    )


def released_sg(folder: Path) -> nn.Module:
    """SG-Former-S."""
    return load(folder / "sg" / "sgformer.py").sgformer_s()


RELEASED = {"msg_transformer_tiny": released_msg, "sgformer_small": released_sg}


@torch.inference_mode()
def check_equal(name: str, model: nn.Module, released: nn.Module, images: Tensor) -> None:
    """Say how far a model is from the released code, and stop if that is more than rounding."""
    answers = [copy.deepcopy(one).double()(images.double()) for one in (model, released)]
    difference = (answers[0] - answers[1]).abs().max().item()
    print(f"{name}: in float64 logits differ from the released code's by {difference:.1e} at most", flush=True)
    if difference > CLOSE:
        sys.exit(f"{name} doesn't compute what the released code does")


def open_source(name: str) -> ExportSource:
    """A model of random weights, by its name."""
    model = name_model(name, SETTING.size)
    return model.task.export_source(model, SETTING.size)


def both(name: str, released: nn.Module, images: Tensor, backends: Sequence[Backend], folder: Path) -> dict[str, Run]:
    """A released model in eager mode, and this package's with its weights in each backend."""
    source = open_source(name)
    source.module.load_state_dict(checkpoint_filter_fn(released.state_dict(), source.module))
    check_equal(name, source.module, released, images)
    runs = {f"{name}, released": ready_in_torch(replace(source, module=released), "eager", images, SETTING).run}
    for backend in backends:
        print(f"getting {name}, {backend} ready", file=sys.stderr, flush=True)
        if backend in FORMATS:
            ready = ready_from_file(exported_file(source, backend, len(images), folder), images, SETTING)
        else:
            ready = ready_in_torch(source, backend, images, SETTING)
        runs[f"{name}, {backend}"] = ready.run
    return runs


def contestants(options: argparse.Namespace, folder: Path) -> dict[str, Run]:
    """Everything that is to be timed, by name, ready to run."""
    images = SETTING.images(1, 3)
    runs = {YARDSTICK: ready_in_torch(open_source(YARDSTICK), "eager", images, SETTING).run}
    for name, make in RELEASED.items():
        torch.manual_seed(0)
        runs |= both(name, make(options.released).eval(), images, options.backend, folder)
    runs |= {file.stem: ready_from_file(file, images, SETTING).run for file in options.files}
    return runs


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("released", type=Path, help="where the clones are, msg and sg")
    parser.add_argument(
        "--backend", nargs="+", default=BACKENDS, choices=BACKENDS, help="what runs this package's models"
    )
    parser.add_argument("--files", type=Path, nargs="+", default=[], help="files of msgformer export, timed as well")
    parser.add_argument("--rounds", type=int, default=40, help="how often each is timed")
    parser.add_argument("--output", type=Path, default=Path("released.json"), help="JSON file to write")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    with SETTING.applied(), tempfile.TemporaryDirectory() as folder:
        runs = contestants(options, Path(folder))
        seconds = dict(zip(runs, time_interleaved([*runs.values()], options.rounds, WARM_UP), strict=True))
        machine = describe_machine()
    print(table(seconds))
    packages = {name: version(name) for name in ("torch", "timm", "msgformer")}
    told = {"machine": machine, "packages": packages, "rounds": options.rounds, "seconds": seconds}
    options.output.write_text(json.dumps(told, indent=2) + "\n")


def table(seconds: dict[str, list[float]]) -> str:
    """A row for each: its time, and the medians over the rounds of its ratios to the released models and to Swin."""
    others = [*(f"{name}, released" for name in RELEASED), YARDSTICK]
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
