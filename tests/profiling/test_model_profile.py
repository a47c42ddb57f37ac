import pytest

from msgformer.model_names import MODELS
from msgformer.profiling.counted import COUNTED, CountedSize
from msgformer.profiling.model_profile import measure_model, measure_parts
from msgformer.profiling.published import PUBLISHED


def test_every_model_has_published_sizes():
    assert list(PUBLISHED) == list(MODELS)
    assert all(sizes[0].head is None for sizes in PUBLISHED.values())


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [("msg_transformer_tiny", 25_086_116, 3.82), ("sgformer_small", 22_545_981, 4.78)],
)
def test_parts_add_up_to_the_published_model(name, parameters, macs):
    whole, *parts = measure_parts(name, (224, 224))
    assert (whole.parameters, round(whole.macs / 1e9, 2)) == (parameters, macs)
    assert [part.part for part in parts] == ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "head"]
    for count in ("parameters", "macs", "activations"):
        assert sum(getattr(part, count) for part in parts) == getattr(whole, count)
        assert all(getattr(part, count) > 0 for part in parts)


def test_parts_match_a_count_by_hand():
    _, stem, *_, head = measure_parts("msg_transformer_tiny", (224, 224))
    assert (stem.macs, stem.activations) == (56 * 56 * 64 * 3 * 7 * 7, 56 * 56 * 64)
    assert stem.parameters == 64 * (3 * 7 * 7 + 1) + 2 * 64 + 16 * 64  # convolution, norm, messengers
    assert (head.macs, head.activations) == (512 * 1000, 1000)
    assert head.parameters == 2 * 512 + 513 * 1000


def test_attention_is_counted():
    """Four times as many windows cost four times as much, including the products of queries and keys."""
    _, _, stage, *_ = measure_parts("msg_transformer_tiny", (224, 224))
    windows, tokens, dim = 64, 50, 64
    block = tokens * 12 * dim**2 + 2 * tokens**2 * dim
    assert stage.macs == 2 * windows * block
    _, _, larger, *_ = measure_parts("msg_transformer_tiny", (448, 448))
    assert larger.macs == 4 * stage.macs


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_size_is_counted_beside_the_published_one(name):
    measured = measure_model(name, (224, 224))
    assert CountedSize(measured.total.parameters, measured.total.macs) == COUNTED[name]
    sizes = measured.comparisons
    assert len(sizes) == len(PUBLISHED[name])
    for compared in sizes:
        if compared.setting == "ImageNet-1k" or "Cascade" in compared.setting:  # millions were rounded to print them
            assert abs(compared.parameters - compared.published_parameters) <= 0.5e6
            assert abs(compared.macs_difference) < 1.1
        else:  # heads that were never released
            assert abs(compared.parameters_difference) < 15
            assert compared.macs_difference is None or abs(compared.macs_difference) < 6


@pytest.mark.slow
def test_the_dense_sizes_of_an_sg_former_are_shown_with_their_difference():
    classifier, detector, segmenter = measure_model("sgformer_small", (224, 224)).comparisons
    assert abs(classifier.macs_difference) < 1
    assert f"{detector.parameters / 1e6:.1f}" == "42.2"
    assert detector.published_macs is detector.macs_difference is None
    assert f"{segmenter.parameters / 1e6:.2f}" == "52.34"
    assert segmenter.macs_difference == pytest.approx(100 * (1031 / 989 - 1), abs=0.2)
