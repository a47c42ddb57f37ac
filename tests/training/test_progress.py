from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest

from msgformer.training.best import Best
from msgformer.training.module import Training
from msgformer.training.progress import print_epoch


@pytest.mark.parametrize(
    ("deciding", "line"),
    [
        ("val/top1", "epoch 2/5  train/loss 0.5000  val/loss 0.2500  val/top1 75.00 %  3.1 s\n"),
        ("val/loss", "epoch 2/5  train/loss 0.5000  val/loss 0.2500  3.1 s\n"),
    ],
)
def test_the_line_of_an_epoch_has_losses_and_deciding_scores(deciding, line, capsys):
    module = create_autospec(Training, instance=True)
    module.best, module.evaluated_models.return_value = Best(deciding), {"": None}
    trainer = SimpleNamespace(lightning_module=module, max_epochs=5, progress_bar_callback=None)
    row = {"epoch": 2, "train/loss": 0.5, "val/loss": 0.25, "val/top1": 75.0, "val/top5": 99.0, "seconds": 3.14}
    print_epoch(trainer, row)
    assert capsys.readouterr().err == line
