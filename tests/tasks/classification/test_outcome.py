import numpy as np
import pytest
import torch.nn.functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from msgformer.tasks.classification.outcome import MAX_RANKS
from tasks.classification.outcomes import make_outcome, outcome_of, random_logits


@pytest.fixture(scope="module")
def scored():
    labels, logits = random_logits(200, 8)
    return labels, logits, outcome_of(labels, logits)


def test_accuracies_and_loss_equal_those_of_the_logits(scored):
    labels, logits, outcome = scored
    assert outcome.accuracy(1) == pytest.approx(100 * (logits.argmax(1) == labels).float().mean().item())
    in_five = (logits.topk(5).indices == labels[:, None]).any(1).float().mean().item()
    assert outcome.accuracy(5) == pytest.approx(100 * in_five)
    assert outcome.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert outcome.ranked.shape == (200, MAX_RANKS)


def test_calibration_error_equals_that_of_all_probabilities(scored):
    labels, logits, outcome = scored
    expected = multiclass_calibration_error(logits.softmax(-1), labels, num_classes=8, n_bins=15)
    assert outcome.calibration_error == pytest.approx(100 * expected.item(), rel=1e-5)


def test_reliability_diagram_agrees_with_the_calibration_error(scored):
    outcome = scored[2]
    confidence, accuracy, images = outcome.reliability().T
    filled = images > 0
    error = np.abs(confidence - accuracy)[filled] @ images[filled] / len(outcome)
    assert 100 * error == pytest.approx(outcome.calibration_error, rel=1e-4)
    assert images.sum() == 200
    assert np.isnan(confidence[~filled]).all()


def test_confidence_of_one_is_in_the_last_bin():
    assert make_outcome([0, 1], [0, 0], confidences=[1.0, 1.0]).reliability()[-1].tolist() == [1.0, 0.5, 2.0]


def test_class_scores_equal_values_computed_by_hand():
    a, b, c = make_outcome([0, 0, 0, 1], [0, 0, 1, 1]).class_scores()
    assert (a.images, a.predicted, a.precision, a.recall, a.f1) == (
        3,
        2,
        100,
        pytest.approx(200 / 3),
        pytest.approx(80),
    )
    assert (b.images, b.predicted, b.precision, b.recall) == (1, 2, 50, 100)
    assert (c.name, c.images, c.predicted, c.precision, c.recall, c.f1) == ("c", 0, 0, None, None, None)


def test_confusions_are_in_descending_order_of_frequency():
    outcome = make_outcome([0, 0, 0, 1, 2, 2], [1, 1, 0, 2, 2, 1])
    first, *others = outcome.confusions(9)
    assert (first.true, first.predicted, first.images, first.share) == ("a", "b", 2, pytest.approx(200 / 3))
    assert [(one.true, one.predicted) for one in others] == [("b", "c"), ("c", "b")]
    assert len(outcome.confusions(1)) == 1
    assert make_outcome([0, 1], [0, 1]).confusions(9) == []


def test_confusion_matrix_merges_neighboring_classes():
    outcome = make_outcome([0, 1, 2, 3], [0, 0, 2, 1], classes=4)
    assert outcome.confusion_matrix(10).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]
    assert outcome.confusion_matrix(2).tolist() == [[2, 0], [1, 1]]


def test_order_of_worst_mistakes_and_least_certain_images():
    outcome = make_outcome([0, 1, 2, 0], [1, 1, 0, 2], confidences=[0.6, 0.5, 0.9, 0.7])
    assert outcome.worst_mistakes(2) == [2, 3]
    assert outcome.worst_mistakes(9) == [2, 3, 0]
    assert outcome.least_certain(2) == [1, 0]


def test_the_calibration_error_is_of_fifteen_bins():
    """Confidences in different bins of fifteen, some of which would share one of ten."""
    confidences = [0.601, 0.634, 0.671, 0.699]
    outcome = make_outcome([0, 1, 2, 0], [0, 1, 1, 1], confidences)
    # (0.6, 2/3] holds two correct answers, (2/3, 0.7333] two wrong ones.
    expected = 0.5 * (1 - (0.601 + 0.634) / 2) + 0.5 * (0.671 + 0.699) / 2
    assert outcome.calibration_error == pytest.approx(100 * expected, rel=1e-5)
    assert len(outcome.reliability()) == 15
