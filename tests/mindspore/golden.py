"""The released code's outputs, and MindSpore models with the same weights."""

import json
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np
from safetensors import safe_open

from models.fill import fill, fill_state_dict
from msgformer.mindspore import create_model, load_weights
from msgformer.mindspore.weights import mindspore_name, set_precision
from msgformer.models.official_weights import our_name

FOLDER = Path(__file__).parents[1] / "models" / "golden"


class Golden(NamedTuple):
    """What a file holds: arrays, and how to make weights and images."""

    name: str
    arrays: dict[str, np.ndarray]
    shapes: dict[str, tuple[int, ...]]
    grad_names: list[str]
    size: int
    batch: int
    salt: str

    def image(self, dtype=ms.float64):
        return self.fill("input", (self.batch, 3, self.size, self.size), dtype)

    def fill(self, name, shape, dtype=ms.float64):
        return ms.Tensor(fill(name, shape, self.salt).numpy(), dtype)

    def model(self, dtype=ms.float64):
        name = self.name.removesuffix("_noshuffle").removesuffix("_448")
        settings = {"exchange": "none"} if self.name.endswith("_noshuffle") else {}
        model = set_precision(create_model(name, img_size=self.size, **settings), dtype)
        weights = {our_name(name): value.numpy() for name, value in fill_state_dict(self.shapes, self.salt).items()}
        load_weights(model, weights)
        return model

    def parameter_names(self):
        """The MindSpore names of `param_grad_norms`."""
        return [mindspore_name(our_name(name)) for name in self.grad_names]


def load(name):
    with safe_open(FOLDER / f"{name}.safetensors", "numpy") as file:
        meta = file.metadata()
        return Golden(
            name,
            {key: file.get_tensor(key) for key in file.keys()},  # noqa: SIM118, it is no dictionary
            {key: tuple(shape) for key, shape in json.loads(meta["params"]).items()},
            json.loads(meta["grad_names"]),
            int(meta["size"]),
            int(meta["batch"]),
            meta["salt"],
        )


def relative_error(value, wanted):
    """The largest error in relation to the largest value."""
    wanted = np.asarray(wanted)
    return np.abs(np.asarray(value, np.float64).reshape(wanted.shape) - wanted).max() / np.abs(wanted).max()


def stage_errors(golden, model, outputs):
    """The relative error of each map that the file holds of each stage."""
    errors = {}
    for number, output in enumerate(outputs, start=1):
        if isinstance(output, tuple):
            patches, messengers = (t.asnumpy() for t in output)
            grid = model.messenger_grid(*output).asnumpy()
            every_token = np.concatenate([patches.ravel(), messengers.ravel()])
            maps = {"patch_sample": channels_first(patches)[:, ::1009], "msg_sample": channels_first(grid)[:, ::101]}
            maps["tokens_absmean"] = np.abs(every_token).mean()
        else:
            patches = output.asnumpy()
            maps = {"sample": channels_first(patches)[:, ::1009], "absmean": np.abs(patches).mean()}
        for key, value in maps.items():
            errors[f"stage{number}_{key}"] = relative_error(value, golden.arrays[f"stage{number}_{key}"])
    return errors


def channels_first(map_):
    """A map [B, H, W, C], flat per image, channels before rows: [B, C * H * W]."""
    return map_.transpose(0, 3, 1, 2).reshape(len(map_), -1)
