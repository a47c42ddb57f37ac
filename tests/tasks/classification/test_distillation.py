import copy

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import pil_to_tensor, to_dtype

from msgformer.checkpoints.card import ModelCard
from msgformer.config.training_options import DistillOptions, OptimOptions
from msgformer.tasks.classification.distillation import Distillation, InputFormat, Teacher
from msgformer.tasks.classification.training_module import ClassificationTraining
from msgformer.training.module import Plan

STUDENT = InputFormat((8, 8), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
GRAY = InputFormat((8, 8), (0.5,), (0.25,))


def normalized(pixels, input_format):
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (input_format.mean, input_format.std))
    return (pixels - mean) / std


def convert(images, teacher_format, student_format):
    return Teacher(nn.Identity(), teacher_format, student_format).convert(images)


def test_images_are_normalized_for_the_teacher():
    pixels = torch.rand(2, 3, 8, 8)
    teacher = InputFormat((8, 8), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    converted = convert(normalized(pixels, STUDENT), teacher, STUDENT)
    torch.testing.assert_close(converted, normalized(pixels, teacher))


@pytest.mark.parametrize("filter_name", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(4, 6), (20, 16)])
def test_images_are_resized_for_the_teacher_as_by_pillow(size, filter_name):
    original = Image.radial_gradient("L").resize((8, 8)).convert("RGB")
    teacher = InputFormat(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), filter_name)

    def pixels(image):
        return to_dtype(pil_to_tensor(image), torch.float32, scale=True)[None]

    converted = convert(normalized(pixels(original), STUDENT), teacher, STUDENT)
    expected = pixels(original.resize(size[::-1], Image.Resampling[filter_name.upper()]))
    assert converted.shape[-2:] == size
    torch.testing.assert_close(converted.clamp(0, 1), expected, atol=2 / 255, rtol=0)


def test_gray_and_color_images_are_converted_to_each_other():
    gray = torch.rand(2, 1, 8, 8)
    color = gray.expand(-1, 3, -1, -1)
    torch.testing.assert_close(convert(normalized(gray, GRAY), STUDENT, GRAY), normalized(color, STUDENT))
    torch.testing.assert_close(
        convert(normalized(color, STUDENT), GRAY, STUDENT), normalized(gray, GRAY), atol=1e-3, rtol=0
    )


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Dropout(0.5))


def classifier(model, distillation, **settings):
    card = ModelCard("test_vit", {}, list("abcde"), {})
    return ClassificationTraining(model, card, Plan(OptimOptions(), 4, 1, 1), distillation=distillation, **settings)


@pytest.mark.parametrize(
    "options", [DistillOptions(), DistillOptions(alpha=0.3, temperature=4.0), DistillOptions(hard=True, alpha=0.7)]
)
def test_loss_equals_the_formula_of_the_papers(linear, options):
    distillation = Distillation(Teacher(linear, STUDENT, STUDENT), options)
    student = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    losses = classifier(student, distillation, smoothing=0.1).losses((images, labels, labels))
    logits, teacher_logits = student(images), linear(images)
    assert losses["cross_entropy"].item() == pytest.approx(
        (1 - options.alpha) * F.cross_entropy(logits, labels, label_smoothing=0.1).item()
    )
    if options.hard:
        expected = F.cross_entropy(logits, teacher_logits.argmax(1))
    else:
        p, q = (teacher_logits / options.temperature).softmax(1), (logits / options.temperature).softmax(1)
        expected = (p * (p / q).log()).sum(1).mean() * options.temperature**2
    assert losses["distillation"].item() == pytest.approx(options.alpha * expected.item(), rel=1e-4)


def test_teacher_is_deterministic_and_neither_trained_nor_saved(linear):
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


def test_soft_loss_is_zero_for_equal_predictions(linear):
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
