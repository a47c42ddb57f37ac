"""Regions of windows and the shuffle, compared with simple loops."""

import itertools

import pytest
import torch

from msgformer.models import GridExchange, create_model, exchange, register_exchange
from msgformer.models.exchange import CORNERS, create_exchange, find_regions
from msgformer.models.window import Grid

GRIDS = [*itertools.product((1, 2, 3, 4, 5), (1, 2, 4, 5, 7)), (8, 8), (9, 12), (17, 8), (11, 13)]
LARGEST = [1, 2, 4, 8]
CPU = torch.device("cpu")


def side_by_hand(rows, cols, largest):
    side = 1
    while 2 * side <= min(rows, cols, largest):
        side *= 2
    return side


def regions_by_hand(rows, cols, largest, corner):
    """R, and the windows of every region in raster order."""
    side = side_by_hand(rows, cols, largest)
    top, left = (rows % side, cols % side) if corner == "right-bottom" else (0, 0)
    regions = [
        [(row + i, col + j) for i in range(side) for j in range(side)]
        for row in range(top, rows - side + 1, side)
        for col in range(left, cols - side + 1, side)
    ]
    return side, regions


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("largest", LARGEST)
@pytest.mark.parametrize(("rows", "cols"), GRIDS)
def test_regions(rows, cols, largest, corner):
    side, regions = regions_by_hand(rows, cols, largest, corner)
    found = find_regions(torch.arange(rows * cols), Grid(1, rows, cols), largest, corner)
    assert found.side == side
    inside = {window for region in regions for window in region}
    for window in itertools.product(range(rows), range(cols)):
        assert found.outside[window[0] * cols + window[1]] == (window not in inside)
    for region in regions:
        indices = torch.tensor([row * cols + col for row, col in region])
        assert found.place[indices].tolist() == list(range(side**2))
        assert set(found.row[indices].tolist()) == {region[0][0]}
        assert set(found.col[indices].tolist()) == {region[0][1]}


@pytest.mark.parametrize(("rows", "cols"), GRIDS)
def test_regions_of_both_corners_cover_all_rows_and_columns(rows, cols):
    taking_part = torch.zeros(rows, cols, dtype=torch.bool)
    for corner in CORNERS:
        found = find_regions(torch.arange(rows * cols), Grid(1, rows, cols), 4, corner)
        taking_part |= ~found.outside.view(rows, cols)
    assert taking_part.any(dim=0).all()
    assert taking_part.any(dim=1).all()


@pytest.mark.parametrize(
    ("setting", "rows", "cols", "side"),
    [(4, 8, 8, 4), (8, 8, 8, 8), (8, 4, 4, 4), (8, 2, 2, 2), (4, 1, 9, 1), (4, 3, 5, 2), (8, 7, 20, 4), (6, 9, 9, 4)],
)
def test_a_region_is_the_largest_power_of_two_that_fits(setting, rows, cols, side):
    shuffle = create_exchange("shuffle", 64, setting)
    assert find_regions(torch.arange(rows * cols), Grid(1, rows, cols), shuffle.region, "left-top").side == side


def shuffle_by_hand(grid, largest, corner):
    """Messengers [B, nH, nW, C] after a transposition of messengers and channel groups in each region."""
    out = grid.clone()
    side, regions = regions_by_hand(*grid.shape[1:3], largest, corner)
    for image, region in itertools.product(range(len(grid)), regions):
        rows, cols = zip(*region, strict=True)
        groups = grid[image, rows, cols].unflatten(1, (side**2, -1))  # [n, g, C / R^2]
        out[image, rows, cols] = groups.transpose(0, 1).flatten(1)
    return out


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("largest", [1, 2, 4])
@pytest.mark.parametrize(("rows", "cols"), GRIDS)
def test_shuffle(rows, cols, largest, corner):
    grid = torch.arange(2.0 * rows * cols * 32).view(2, rows, cols, 32)
    shuffle = create_exchange("shuffle", 32, largest)
    plan = shuffle.plan(Grid(2, rows, cols), corner, CPU)
    shuffled = shuffle(grid.flatten(0, 2), plan)
    assert torch.equal(shuffled.view_as(grid), shuffle_by_hand(grid, largest, corner))
    assert torch.equal(shuffle(shuffled, plan).view_as(grid), grid), "it is its own inverse"


def test_windows_outside_regions_are_unchanged():
    grid = torch.randn(1, 5, 4, 16)
    shuffle = create_exchange("shuffle", 16, 4)
    for corner, row, others in (("left-top", 4, slice(0, 4)), ("right-bottom", 0, slice(1, 5))):
        shuffled = shuffle(grid.flatten(0, 2), shuffle.plan(Grid(1, 5, 4), corner, CPU)).view_as(grid)
        assert torch.equal(shuffled[:, row], grid[:, row])
        assert not torch.isclose(shuffled[:, others], grid[:, others]).all(dim=-1).any()


def test_no_exchange_leaves_messengers_unchanged():
    messengers = torch.randn(2 * 3 * 4, 6)
    none = create_exchange("none", 6, 4)  # no number of channels is asked for
    assert torch.equal(none(messengers, none.plan(Grid(2, 3, 4), "left-top", CPU)), messengers)


def test_registered_exchange_is_selected_by_name(monkeypatch):
    monkeypatch.setattr(exchange, "_EXCHANGES", dict(exchange._EXCHANGES))
    seen = []

    @register_exchange("mean")
    class Mean(GridExchange):
        def exchange(self, messengers):
            seen.append(messengers.shape)
            return messengers + messengers.mean(dim=(1, 2), keepdim=True)

    settings = {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 1), "shuffle_sizes": (4, 4)}
    model = create_model("msg_transformer_tiny", exchange="mean", out_indices=(0, 1), **settings).eval()
    assert model(torch.randn(2, 3, 64, 96)).shape == (2, 1000)
    assert [tuple(shape) for shape in seen] == [(2, 3, 4, 16), (2, 2, 2, 32)]


def test_unknown_exchange_error_suggests_a_name():
    with pytest.raises(ValueError, match=r"unknown exchange 'shufle', known: .*; did you mean 'shuffle'"):
        create_exchange("shufle", 16, 4)


def test_indivisible_channels_are_an_error():
    with pytest.raises(ValueError, match="4 x 4 windows needs channels divisible by 16, got 24"):
        create_exchange("shuffle", 24, 4)
