import random

import numpy as np
import torch

from msgformer.utils.seeding import derive, seeded


def drawn():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_seeds_are_functions_of_all_their_numbers():
    assert derive(1, 2, 3) == derive(1, 2, 3)
    assert len({derive(a, b, c) for a in range(4) for b in range(4) for c in range(4)}) == 64


def test_a_seeded_block_depends_on_its_seed_only():
    with seeded(5):
        first = drawn()
    with seeded(5):
        assert drawn() == first
    with seeded(6):
        assert not set(drawn()) & set(first)


def test_the_random_state_is_restored_after_a_block():
    with seeded(5):
        before = drawn()
        with seeded(9):
            drawn()
        after = drawn()
    with seeded(5):
        assert (drawn(), drawn()) == (before, after)
