from types import SimpleNamespace

import pytest

from msgformer.config.training_options import OptimOptions, TrainerOptions
from msgformer.errors import UserError
from msgformer.tasks.training_setup import TrainingSetup


class Setup(TrainingSetup):
    """A setup of ten training images, without a model."""

    def image_names(self):
        return {"train": [str(number) for number in range(10)], "val": []}

    def build(self, trainer, *, fresh):
        raise NotImplementedError

    def record(self, run):
        raise NotImplementedError


def setup(**settings):
    settings = {"pretrained": False, "init_from": None, "epochs": 3, "seed": 5, **settings}
    return Setup(SimpleNamespace(**{"optim": OptimOptions(), "trainer": TrainerOptions(), **settings}), None)


def test_last_accumulated_step_of_an_epoch_may_be_smaller():
    plan = setup(trainer=TrainerOptions(accumulate_grad_batches=4)).plan(SimpleNamespace(world_size=1), batch_size=2)
    assert (plan.steps_per_epoch, plan.total_batch, plan.epochs, plan.seed) == (2, 8, 3, 5)


def test_steps_are_those_of_all_processes():
    plan = setup().plan(SimpleNamespace(world_size=2), batch_size=2)
    assert (plan.steps_per_epoch, plan.total_batch) == (2, 4)


@pytest.mark.parametrize(
    ("settings", "decay"), [({}, None), ({"pretrained": True}, 0.7), ({"init_from": "a.ckpt"}, 0.7)]
)
def test_layer_decay_is_for_weights_that_are_not_random(settings, decay):
    optim = OptimOptions(layer_decay=0.7, layer_decay_scratch=False)
    assert setup(optim=optim, **settings).plan(SimpleNamespace(world_size=1), 2).optim.layer_decay == decay


def test_batches_are_no_larger_than_the_data_and_even_for_mixing():
    one, three = SimpleNamespace(world_size=1), SimpleNamespace(world_size=3)
    assert setup(batch_size=4).batch_size(one) == 4
    assert setup(batch_size=64).batch_size(three) == 3
    assert setup(batch_size=64).batch_size(three, even=True) == 2
    with pytest.raises(UserError, match="batch_size must be even for mixup and cutmix, not 5"):
        setup(batch_size=5).batch_size(one, even=True)
    with pytest.raises(UserError, match=r"too few training images \(0 per process\)"):
        setup(batch_size=5).batch_size(SimpleNamespace(world_size=11))
