import pytest

from msgformer.data.loading.grouping import GroupedData, GroupedSampler

UPRIGHT = [index % 3 == 0 for index in range(50)]


def drawn(epoch=0, rank=0, world_size=1, seed=0):
    sampler = GroupedSampler(UPRIGHT, seed, batch=4 * world_size, rank=rank, world_size=world_size)
    sampler.set_epoch(epoch)
    draws = list(sampler)
    assert {epoch for epoch, _ in draws} == {epoch}
    assert len(draws) == len(sampler)
    return [index for _, index in draws]


def test_batches_are_of_one_kind_as_far_as_possible():
    order = drawn()
    assert len(order) == 48
    assert len(set(order)) == 48
    kinds = [{UPRIGHT[index] for index in order[start : start + 4]} for start in range(0, 48, 4)]
    assert sum(len(kind) == 2 for kind in kinds) <= 1
    firsts = [next(iter(kind)) for kind in kinds]
    assert firsts != sorted(firsts)


def test_the_order_is_a_function_of_seed_and_epoch():
    assert drawn(epoch=1) == drawn(epoch=1)
    assert drawn(epoch=1) != drawn(epoch=2)
    assert drawn(epoch=1) != drawn(epoch=1, seed=1)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_batches_of_one_kind(world_size):
    shares = [drawn(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    everything = [index for share in shares for index in share]
    assert len(set(everything)) == len(everything)
    for start in range(0, len(shares[0]) - 4, 4):
        step = [index for share in shares for index in share[start : start + 4]]
        if len({UPRIGHT[index] for index in step}) == 2:
            assert start + 4 * world_size >= len(shares[0])  # what is left of both kinds comes last


@pytest.mark.parametrize("world_size", [1, 3])
def test_batches_of_all_processes_are_grouped_together(world_size):
    data = GroupedData(UPRIGHT, UPRIGHT, 4, seed=5, upright=UPRIGHT)
    for rank in range(world_size):
        sampler = data.train_sampler(rank, world_size)
        assert [index for _, index in sampler] == drawn(rank=rank, world_size=world_size, seed=5)
