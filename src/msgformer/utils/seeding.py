"""Seeds derived from a few numbers, so that random numbers are reproducible without storing generator states.

Data augmentation depends on (seed, epoch, index), and the model's random numbers on (seed, epoch, step). A run that is
stopped and resumed, with any number of workers, therefore gives the same result.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


def derive(*numbers: int) -> int:
    """Derive a 32-bit seed from non-negative numbers; similar numbers give unrelated seeds."""
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_generators(seed: int) -> None:
    """Seed the global CPU generators of Python, NumPy and torch.

    Generators of accelerators are not changed, since a dataset read in the main process must not affect them.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global CPU generators inside the block, and restore their states after it."""
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_generators(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
