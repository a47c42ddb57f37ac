import pytest

from msgformer.config.training_options import TrainerOptions


@pytest.mark.parametrize(
    ("logger", "trackers"),
    [(None, []), ("wandb", ["wandb"]), (["tensorboard", "wandb"], ["tensorboard", "wandb"])],
)
def test_loggers_are_a_list(logger, trackers):
    assert TrainerOptions(logger=logger).trackers == trackers
