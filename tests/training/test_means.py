from lightning.pytorch.strategies import SingleDeviceStrategy

from msgformer.training.means import Means

ONE_PROCESS = SingleDeviceStrategy("cpu")


def test_means_are_weighted_and_reset():
    means = Means()
    means.add({"loss": 1.0, "box": 4.0}, weight=3)
    means.add({"loss": 2.0, "box": 0.0}, weight=1)
    assert means.compute_and_reset(ONE_PROCESS) == {"loss": 1.25, "box": 3.0}
    assert means.compute_and_reset(ONE_PROCESS) == {}


def test_restored_state_gives_equal_means():
    whole, first, second = Means(), Means(), Means()
    for number in range(10):
        for means in (whole, first if number < 5 else second):
            if number == 5 and means is second:
                second.load(first.state(ONE_PROCESS))
            means.add({"loss": 0.1 * number}, weight=7)
    assert second.compute_and_reset(ONE_PROCESS) == whole.compute_and_reset(ONE_PROCESS)
