import pytest
import timm
import torch
from PIL import Image

from msgformer.config.data_options import AugmentOptions, PreprocessOptions
from msgformer.data.preprocessing import Preprocessing, _posterize, eval_transform, train_transform
from msgformer.errors import UserError
from msgformer.utils.seeding import seeded


@pytest.fixture(scope="module")
def model():
    return timm.create_model("test_vit")


def test_settings_default_to_those_of_the_model(model):
    own = Preprocessing.of(model, (32, 48), 3, PreprocessOptions())
    given = Preprocessing.of(model, (32, 48), 3, PreprocessOptions(crop_pct=1.0, mean=[0.1, 0.2, 0.3]))
    assert own.input_size == (3, 32, 48)
    assert own.mean == tuple(model.pretrained_cfg["mean"])
    assert (given.crop_pct, given.mean, given.std) == (1.0, (0.1, 0.2, 0.3), own.std)


def test_a_gray_models_own_mean_is_used():
    config = {"input_size": (1, 160, 160), "mean": (0.4,), "std": (0.2,)}
    gray = timm.create_model("test_vit", in_chans=1, pretrained_cfg_overlay=config)
    settings = Preprocessing.of(gray, (32, 48), 1, PreprocessOptions())
    assert (settings.mean, settings.std) == ((0.4,), (0.2,))


def test_settings_survive_storing(model):
    settings = Preprocessing.of(model, (32, 48), 1, PreprocessOptions())
    assert Preprocessing.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("auto_augment", ["rand-m9-mstd0.5-inc1", "augmix-m3", "3a", None])
def test_images_of_any_size_become_tensors(model, channels, auto_augment):
    settings = Preprocessing.of(model, (32, 48), channels, PreprocessOptions())
    image = Image.effect_noise((57, 33), 50).convert("RGB")
    for transform in (
        eval_transform(settings),
        train_transform(settings, AugmentOptions(auto_augment=auto_augment)),
        train_transform(settings, AugmentOptions(enabled=False)),
    ):
        with seeded(0):
            assert transform(image).shape == (channels, 32, 48)


def test_pixels_are_normalized(model):
    settings = Preprocessing.of(model, (8, 8), 1, PreprocessOptions(mean=[0.5], std=[0.25]))
    assert eval_transform(settings)(Image.new("RGB", (8, 8), "white")).unique().tolist() == [2.0]


def test_augmentation_follows_the_seed(model):
    transform = train_transform(Preprocessing.of(model, (32, 32), 3, PreprocessOptions()), AugmentOptions())
    image = Image.effect_noise((40, 40), 50).convert("RGB")

    def augmented(seed):
        with seeded(seed):
            return transform(image)

    assert torch.equal(augmented(1), augmented(1))
    assert not torch.equal(augmented(1), augmented(2))


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (4, PreprocessOptions(), "in_chans must be 1"),
        (3, PreprocessOptions(mean=[0.5]), r"preprocess\.mean needs 3 number"),
        (1, PreprocessOptions(std=[0.5, 0.5, 0.5]), r"preprocess\.std needs 1 number"),
    ],
)
def test_settings_that_do_not_fit_are_refused(model, channels, options, message):
    with pytest.raises(UserError, match=message):
        Preprocessing.of(model, (32, 32), channels, options)


def test_an_unknown_policy_is_refused(model):
    with pytest.raises(UserError, match=r"augment\.auto_augment: .*'rnd-m9'"):
        train_transform(
            Preprocessing.of(model, (32, 32), 3, PreprocessOptions()), AugmentOptions(auto_augment="rnd-m9")
        )


@pytest.mark.parametrize("policy", ["rand-m10-n8-inc1", "rand-m0-n8", "rand-m9-mstd0.5-inc1", "original", "augmix-m10"])
def test_policies_run_at_every_strength_that_they_draw(model, policy):
    transform = train_transform(
        Preprocessing.of(model, (8, 8), 3, PreprocessOptions()), AugmentOptions(auto_augment=policy)
    )
    image = Image.effect_noise((12, 12), 50).convert("RGB")
    for seed in range(60):
        with seeded(seed):
            assert transform(image).isfinite().all()


def test_zero_bits_give_black_and_eight_bits_the_image():
    image = Image.new("RGB", (2, 2), (255, 129, 127))
    assert [_posterize(image, bits).getpixel((0, 0)) for bits in (0, 1, 8)] == [
        (0, 0, 0),
        (128, 128, 0),
        (255, 129, 127),
    ]


def test_draft_decoding_keeps_twice_the_needed_pixels(model):
    given = {"crop_pct": 0.875, "mean": None}
    for draft, side in ((False, 0), (True, 110)):
        settings = Preprocessing.of(model, (32, 48), 3, PreprocessOptions(**given, draft=draft))
        assert settings.min_side == side
        assert Preprocessing.from_dict(settings.to_dict()).min_side == side
        assert eval_transform(settings)(Image.new("RGB", (160, 120))).shape == (3, 32, 48)
    assert "draft" not in Preprocessing.of(model, (32, 48), 3, PreprocessOptions()).to_dict(), "it is timm's then"


def erased_regions(settings, count):
    """Connected regions that erasing left black in a white image, at most over many draws."""
    from skimage.measure import label

    options = AugmentOptions(
        auto_augment=None,
        scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        hflip=0.0,
        color_jitter=None,
        erasing=1.0,
        erasing_mode="const",
        erasing_count=count,
    )
    transform = train_transform(settings, options)
    found = 0
    for seed in range(20):
        with seeded(seed):
            pixels = transform(Image.new("RGB", (64, 64), "white"))
        found = max(found, int(label((pixels == 0).all(0).numpy()).max()))
    return found


def test_erasing_count_limits_the_rectangles(model):
    settings = Preprocessing.of(model, (64, 64), 3, PreprocessOptions(mean=[0.5] * 3, std=[0.5] * 3))
    assert erased_regions(settings, 1) == 1
    assert erased_regions(settings, 4) > 1


def test_gaussian_blur_is_applied_with_its_probability(model):
    settings = Preprocessing.of(model, (32, 32), 3, PreprocessOptions())
    still = dict(auto_augment=None, scale=(1.0, 1.0), ratio=(1.0, 1.0), hflip=0.0, color_jitter=None, erasing=0.0)
    image = Image.effect_noise((32, 32), 80).convert("RGB")
    results = {}
    for probability in (0.0, 1.0):
        with seeded(0):
            results[probability] = train_transform(settings, AugmentOptions(**still, gaussian_blur=probability))(image)
    assert results[1.0].std() < 0.9 * results[0.0].std()


@pytest.mark.parametrize(("option", "axis"), [("hflip", -1), ("vflip", -2)])
def test_flips_are_applied_with_their_probability(model, option, axis):
    settings = Preprocessing.of(model, (32, 32), 3, PreprocessOptions())
    still = dict(auto_augment=None, scale=(1.0, 1.0), ratio=(1.0, 1.0), hflip=0.0, color_jitter=None, erasing=0.0)
    image = Image.effect_noise((32, 32), 80).convert("RGB")
    plain, flipped = (
        train_transform(settings, AugmentOptions(**{**still, option: probability}))(image) for probability in (0.0, 1.0)
    )
    assert torch.equal(flipped, plain.flip(axis))
    assert not torch.equal(flipped, plain)
