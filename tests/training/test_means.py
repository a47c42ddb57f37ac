from lightning.pytorch.strategies import SingleDeviceStrategy

from msgformer.training.means import Means

ALONE = SingleDeviceStrategy("cpu")


def test_means_are_weighted_and_taken_once():
    means = Means()
    means.add({"loss": 1.0, "box": 4.0}, weight=3)
    means.add({"loss": 2.0, "box": 0.0}, weight=1)
    assert means.take(ALONE) == {"loss": 1.25, "box": 3.0}
    assert means.take(ALONE) == {}


def test_a_state_goes_on_exactly():
    whole, first, second = Means(), Means(), Means()
    for number in range(10):
        for means in (whole, first if number < 5 else second):
            if number == 5 and means is second:
                second.load(first.state(ALONE))
            means.add({"loss": 0.1 * number}, weight=7)
    assert second.take(ALONE) == whole.take(ALONE)
