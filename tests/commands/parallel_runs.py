"""Trains several times, one after the other, in each process of a group that torchrun starts.

    python -m torch.distributed.run --nproc_per_node 2 parallel_runs.py TRAININGS.json

The file holds, by name, the arguments of `msgformer.train`, with `output`. Each process writes the state that it ends
with beside the run folder. Then a copy of the run goes on from its last checkpoint but one.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import torch.distributed

from msgformer.commands.train import train
from msgformer.training.run import Run


def state_file(run: Path, rank: int) -> Path:
    """Return the file to which a rank writes the state of its module."""
    return run.with_name(f"{run.name}-rank{rank}.pt")


def resumed(run: Path) -> Path:
    """Return the copy of a run that resumes from its second last checkpoint."""
    return run.with_name(f"{run.name}-resumed")


def main() -> None:
    for settings in json.loads(Path(sys.argv[1]).read_text()).values():
        run = Path(settings["output"])
        train(**settings)
        torch.save(_last_module[0].state_dict(), state_file(run, torch.distributed.get_rank()))
        _rewind(run)
        train(resume=resumed(run))


def _rewind(run: Path) -> None:
    if torch.distributed.get_rank() == 0:
        shutil.copytree(run, resumed(run))
        (resumed(run) / "previous.ckpt").replace(resumed(run) / "last.ckpt")
    torch.distributed.barrier()


_last_module = []
_fit = Run.fit


def _fit_and_remember(self, module, data, checkpoint):
    _fit(self, module, data, checkpoint)
    _last_module[:] = [module]


if __name__ == "__main__":
    Run.fit = _fit_and_remember
    main()
