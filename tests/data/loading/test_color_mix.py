import torch

from msgformer.data.loading.color_mix import CENTER, mix_colors
from msgformer.utils.seeding import seeded


def fit(image, mixed):
    """Fit the affine map [4, 3] from colors to mixed colors; returns the map and the residuals."""
    colors = torch.cat([image.flatten(1).T, torch.ones(image[0].numel(), 1)], dim=1)
    found = torch.linalg.lstsq(colors, mixed.flatten(1).T).solution
    return found, (colors @ found - mixed.flatten(1).T).abs().max()


def test_all_pixels_share_an_affine_map_and_half_of_the_images_are_inverted():
    image = torch.rand(3, 8, 10)
    inverted = 0
    for seed in range(60):
        with seeded(seed):
            mixed = mix_colors(image, 0.1)
        found, rest = fit(image, mixed)
        assert mixed.shape == image.shape
        assert rest < 1e-5
        inverted += bool(found[:3].trace() < 0)
    assert 15 < inverted < 45


def test_zero_strength_keeps_the_image_or_inverts_it():
    image = torch.rand(3, 4, 4)
    for seed in range(4):
        with seeded(seed):
            mixed = mix_colors(image, 0.0)
        assert torch.allclose(mixed, image, atol=1e-6) or torch.allclose(mixed, 2 * CENTER - image, atol=1e-6)
