import itertools

import pytest

from msgformer.data.loading.sampling import EpochSampler


def drawn(epoch=0, **settings):
    sampler = EpochSampler(**{"count": 10, "seed": 3, "shuffle": True, **settings})
    sampler.set_epoch(epoch)
    draws = list(sampler)
    assert len(draws) == len(sampler)
    assert {at for at, _ in draws} <= {epoch}
    return [index for _, index in draws]


def test_an_epoch_shows_everything_once():
    assert sorted(drawn()) == list(range(10))


def test_the_order_is_a_function_of_seed_and_epoch():
    assert drawn(epoch=4) == drawn(epoch=4)
    assert drawn(epoch=4) != drawn(epoch=5)
    assert drawn(epoch=4) != drawn(epoch=4, seed=4)


def test_without_shuffling_the_order_stays():
    assert drawn(epoch=1, shuffle=False) == list(range(10))


def test_incomplete_batches_are_dropped_on_request():
    assert drawn(multiple_of=4) == drawn()[:8]


def test_a_resumed_epoch_skips_what_was_drawn_and_later_epochs_are_whole():
    sampler = EpochSampler(count=10, seed=3, shuffle=True)
    sampler.resume(4, 7)
    assert [index for _, index in sampler] == drawn(epoch=4)[7:]
    sampler.set_epoch(5)
    assert [index for _, index in sampler] == drawn(epoch=5)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_images(world_size):
    shares = [drawn(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(itertools.chain(*shares)) == list(range(10))
    assert shares[1] == drawn()[1::world_size]


def test_a_balanced_epoch_draws_classes_equally_and_is_divided_among_processes():
    labels = [0] * 8 + [1] * 2
    order = drawn(balance=labels)
    assert sorted(labels[index] for index in order) == [0] * 5 + [1] * 5
    assert drawn(balance=labels) == order
    assert drawn(balance=labels, epoch=1) != order
    shares = [drawn(balance=labels, rank=rank, world_size=2) for rank in range(2)]
    assert [shares[number % 2][number // 2] for number in range(10)] == order
