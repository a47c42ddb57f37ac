import copy

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import pil_to_tensor, to_dtype

from msgformer.checkpoints.card import ModelCard
from msgformer.config.training_options import DistillOptions, OptimOptions
from msgformer.tasks.classification.distillation import Distillation, Teacher, View
from msgformer.tasks.classification.training_module import Classifier
from msgformer.training.module import Plan

STUDENT = View((8, 8), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
GREY = View((8, 8), (0.5,), (0.25,))


def normalised(pictures, view):
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (view.mean, view.std))
    return (pictures - mean) / std


def translate(images, view, student):
    return Teacher(nn.Identity(), view, student).translate(images)


def test_a_teacher_sees_the_same_pictures_by_its_own_mean_and_deviation():
    pictures = torch.rand(2, 3, 8, 8)
    view = View((8, 8), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    seen = translate(normalised(pictures, STUDENT), view, STUDENT)
    torch.testing.assert_close(seen, normalised(pictures, view))


@pytest.mark.parametrize("filter_name", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(4, 6), (20, 16)])
def test_pictures_are_brought_to_the_teachers_size_as_pillow_does(size, filter_name):
    picture = Image.radial_gradient("L").resize((8, 8)).convert("RGB")
    view = View(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), filter_name)

    def pixels(image):
        return to_dtype(pil_to_tensor(image), torch.float32, scale=True)[None]

    seen = translate(normalised(pixels(picture), STUDENT), view, STUDENT)
    expected = pixels(picture.resize(size[::-1], Image.Resampling[filter_name.upper()]))
    assert seen.shape[-2:] == size
    torch.testing.assert_close(seen.clamp(0, 1), expected, atol=2 / 255, rtol=0)


def test_grey_and_colour_are_turned_into_each_other():
    grey = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(
        translate(normalised(grey, GREY), STUDENT, GREY), normalised(grey.expand(-1, 3, -1, -1), STUDENT)
    )
    colour = grey.expand(-1, 3, -1, -1)
    torch.testing.assert_close(
        translate(normalised(colour, STUDENT), GREY, STUDENT), normalised(grey, GREY), atol=1e-3, rtol=0
    )


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Dropout(0.5))


def classifier(model, distillation, **settings):
    card = ModelCard("test_vit", {}, list("abcde"), {})
    return Classifier(model, card, Plan(OptimOptions(), 4, 1, 1), distillation=distillation, **settings)


@pytest.mark.parametrize(
    "options", [DistillOptions(), DistillOptions(alpha=0.3, temperature=4.0), DistillOptions(hard=True, alpha=0.7)]
)
def test_the_loss_is_that_of_the_papers(linear, options):
    distillation = Distillation(Teacher(linear, STUDENT, STUDENT), options)
    student = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    losses = classifier(student, distillation, smoothing=0.1).losses((images, labels, labels))
    ours, theirs = student(images), linear(images)
    assert losses["cross_entropy"].item() == pytest.approx(
        (1 - options.alpha) * F.cross_entropy(ours, labels, label_smoothing=0.1).item()
    )
    if options.hard:
        expected = F.cross_entropy(ours, theirs.argmax(1))
    else:
        p, q = (theirs / options.temperature).softmax(1), (ours / options.temperature).softmax(1)
        expected = (p * (p / q).log()).sum(1).mean() * options.temperature**2
    assert losses["distillation"].item() == pytest.approx(options.alpha * expected.item(), rel=1e-4)


def test_a_teacher_is_not_trained_nor_saved_nor_random(linear):
    student = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    module = classifier(student, Distillation(Teacher(linear, STUDENT, STUDENT), DistillOptions(alpha=1.0)))
    module.train()
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    first, second = (module.losses((images, labels, labels))["distillation"] for _ in range(2))
    assert first.item() == second.item() > 0  # its dropout is off
    first.backward()
    assert student[1].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in linear.parameters())
    assert set(module.state_dict()) == {"model.1.weight", "model.1.bias"}
    assert not any(parameter is linear[1].weight for parameter in module.parameters())


def test_a_student_that_answers_like_its_teacher_is_at_no_distance(linear):
    student = copy.deepcopy(linear).eval()
    images, labels = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.long)
    losses = [
        classifier(student, Distillation(Teacher(linear, STUDENT, STUDENT), options)).losses((images, labels, labels))
        for options in (DistillOptions(alpha=1.0), DistillOptions(alpha=1.0, hard=True))
    ]
    logits = student(images)
    expected = [0.0, F.cross_entropy(logits, logits.argmax(1)).item()]
    assert [each["distillation"].item() for each in losses] == pytest.approx(expected, abs=1e-6)
    assert [each["cross_entropy"].item() for each in losses] == [0.0, 0.0]
