import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from msgformer.checkpoints.card import ModelCard
from msgformer.config.training_options import OptimOptions
from msgformer.tasks.classification.training_module import ClassificationTraining
from msgformer.training.module import Plan


def test_mean_losses_count_each_image_equally():
    torch.manual_seed(0)
    card = ModelCard("test_vit", {}, ["a", "b", "c"], {})
    training = ClassificationTraining(torch.nn.Linear(4, 3), card, Plan(OptimOptions(), 8, 1, 2))
    images, labels, positions = torch.randn(10, 4), torch.arange(10) % 3, torch.arange(10)
    for index, part in enumerate((slice(0, 8), slice(8, 10))):
        training.training_step((images[part], labels[part], positions[part]), index)
    expected = torch.nn.functional.cross_entropy(training.model(images), labels).item()
    means = training.means.compute_and_reset(SingleDeviceStrategy("cpu"))
    assert means == {"loss": pytest.approx(expected, rel=1e-6)}
