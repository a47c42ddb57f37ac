"""What both families share: the interface of a timm model over a sequence of stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from timm.layers import ClassifierHead, to_2tuple, trunc_normal_
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from msgformer.errors import UserError
from msgformer.kernels.index_cache import is_recorded, is_traced
from msgformer.models.window import Size

Device = torch.device | str | None

KEPT_SHARE = 0.15
"""Of all blocks' activations, as much is kept where others are computed again."""

TRAINED_PREFIX = "model."
"""Prefix of the model's parameters in the state of a training run."""


class Backbone(nn.Module, ABC):
    """A hierarchical vision transformer as timm expects one.

    A family defines `forward_stages` and `forward_features`; the rest of the interface follows from them.

    Args:
        img_size: Height and width of the images that the model is meant for, or the side of a square.
        in_chans: Channels of the image.
        num_classes: Classes; 0 for none.
        embed_dims: Channels of each stage.
        global_pool: Pooling before the classifier: 'avg', 'max', ... or '' for none.
        drop_rate: Drop rate before the classifier.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    stages: Any  # an nn.ModuleList of the family's stages

    def __init__(
        self,
        img_size: int | Size,
        in_chans: int,
        num_classes: int,
        embed_dims: list[int],
        global_pool: str,
        drop_rate: float,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.img_size: Size = to_2tuple(img_size)
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.num_stages = len(embed_dims)
        self.num_features = self.head_hidden_size = embed_dims[-1]
        self.output_fmt = "NHWC"
        self.feature_info = [
            dict(num_chs=dim, reduction=4 * 2**index, module=f"stages.{index}") for index, dim in enumerate(embed_dims)
        ]
        self.head = ClassifierHead(
            self.num_features, num_classes, global_pool, drop_rate, input_fmt="NHWC", device=device, dtype=dtype
        )

    @abstractmethod
    def forward_stages(self, x: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Image [B, 3, S, T] to what each stage gives in turn, its map of patch tokens [B, H, W, C] first."""

    @abstractmethod
    def final_features(self, *outputs: Tensor) -> Tensor:
        """What the classifier pools, [B, H, W, C], made of the last stage's outputs."""

    def as_maps(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """A stage's outputs, all of them as maps [B, H, W, C]."""
        return outputs

    @abstractmethod
    def final_map(self, patches: Tensor) -> Tensor:
        """The last stage's map of patch tokens [B, H, W, C] under the final norm."""

    def check_images(self, x: Tensor) -> None:
        """Refuse a batch that is not images of the model's channels and type. Captured and traced graphs have no check.

        Args:
            x: The batch.

        Raises:
            UserError: It has another rank, another number of channels, no pixels, or another type than the weights.
        """
        if is_traced(x) or is_recorded():
            return
        if x.dim() != 4 or x.shape[1] != self.in_chans or not (x.shape[2] and x.shape[3]):
            raise UserError(_explain_shape(tuple(x.shape), self.in_chans))
        weight = next(self.parameters(), None)
        if weight is None or x.dtype == weight.dtype or not weight.is_floating_point():
            return
        if not x.is_floating_point():
            raise UserError(
                f"images are {x.dtype}, the model's weights {weight.dtype}; scale and normalize images as in training, "
                "as `timm.data.create_transform` and `msgformer.predict` do"
            )
        if not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64:  # autocast leaves float64 alone
            raise UserError(
                f"images are {x.dtype}, the model's weights {weight.dtype}; give images.to({weight.dtype}), "
                "or convert the model"
            )

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load as `nn.Module.load_state_dict` does; the state of a training run, prefixed "model.", is accepted too."""
        return super().load_state_dict(model_weights(state_dict), *args, **kwargs)

    def forward_features(self, x: Tensor) -> Tensor:
        """Image [B, 3, S, T] to the features of the last stage that the classifier pools, [B, H, W, C]."""
        *_, outputs = self.forward_stages(x)
        return self.final_features(*outputs)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features [B, H, W, C] to logits [B, classes], or to pooled features [B, C] with ``pre_logits``."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Image [B, 3, S, T] to logits [B, classes]."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Maps of patch tokens after the stages.

        Args:
            x: Image [B, 3, S, T].
            indices: Stages to take; an int takes the last ones, None all.
            norm: Apply the final norm to the last stage's map.
            stop_early: Leave out the stages after the last one taken.
            output_fmt: 'NCHW' or 'NHWC'.
            intermediates_only: Return the maps alone.

        Returns:
            The maps, or a pair of final features, as of `forward_features`, and maps. Where ``stop_early``
            leaves stages out, the final features are the map of the last stage that ran.

        Raises:
            ValueError: another output format.
        """
        outputs, maps = self._run_stages(x, indices, norm, stop_early, output_fmt)
        patches = [patch_map for (patch_map,) in maps]
        return patches if intermediates_only else (outputs, patches)

    def _run_stages(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None,
        norm: bool,
        stop_early: bool,
        output_fmt: str,
        all_outputs: bool = False,
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Run the stages for `forward_intermediates`, whose arguments these are.

        Returns:
            Final features, and per taken stage its patch map, or all its outputs as maps with ``all_outputs``.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt has to be 'NCHW' or 'NHWC', got {output_fmt!r}")
        take, last = feature_take_indices(len(self.stages), as_indices(indices))
        taken: list[tuple[Tensor, ...]] = []
        outputs: tuple[Tensor, ...] = ()
        index = -1
        for index, outputs in enumerate(self.forward_stages(x)):
            if index in take:
                final = norm and index == self.num_stages - 1
                maps = self.as_maps(*outputs) if all_outputs else outputs[:1]
                kept = (self.final_map(maps[0]), *maps[1:]) if final else maps
                taken.append(tuple(nhwc_to(map_, output_fmt) for map_ in kept))
            if stop_early and index == last:
                break
        complete = index == self.num_stages - 1
        return self.final_features(*outputs) if complete else outputs[0], taken

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Removes what the given stages do not need.

        Args:
            indices: Stages to keep the outputs of; an int keeps the last ones.
            prune_norm: Remove the final norm.
            prune_head: Remove the classifier.

        Returns:
            The stages kept, counted from 0.
        """
        take, last = feature_take_indices(len(self.stages), as_indices(indices))
        self.stages = self.stages[: last + 1]
        if prune_norm:
            self.prune_final_norm()
        if prune_head:
            self.reset_classifier(0, "")
        return take

    @abstractmethod
    def prune_final_norm(self) -> None:
        """Removes the norm that `final_features` and `final_map` apply, where no stage needs it."""

    def record_args(self, **args: Any) -> None:
        """Update the constructor arguments that timm's `save_for_hf` writes, after a change of the model."""
        self._model_args = {**getattr(self, "_model_args", {}), **args}
        if "img_size" in args:
            self._traits = {**getattr(self, "_traits", {}), "img_size": args["img_size"]}

    def get_classifier(self) -> nn.Module:
        """The linear layer of the classifier."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier for ``num_classes``, and another pooling where one is given."""
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of keeping their activations.

        The last blocks keep theirs, `KEPT_SHARE` of all. They hold little for the time that computing them takes, and
        are free again when the backward pass comes to the first blocks, which hold the most.
        """
        # Of a block's activations, up to a factor.
        sizes = [info["num_chs"] / info["reduction"] ** 2 for info in self.feature_info[: len(self.stages)]]
        stages = list(zip(sizes, self.stages, strict=True))
        room = KEPT_SHARE * sum(size * len(stage.blocks) for size, stage in stages)
        for size, stage in reversed(stages):
            kept = min(len(stage.blocks), int(room / size))
            room -= kept * size
            stage.num_recomputed = len(stage.blocks) - kept if enable else 0

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that sort parameters into groups from input to output, for layer-wise learning rates."""
        return dict(
            stem=r"^(?:patch_embed|msg_tokens|pos_embed)",
            blocks=r"^stages\.(\d+)"
            if coarse
            else [
                (r"^stages\.(\d+)\.downsample", (0,)),
                (r"^stages\.(\d+)\.blocks\.(\d+)", None),
                (r"^stages\.(\d+)\.norm", (99998,)),
                (r"^norm", (99999,)),
            ],
        )


def factory_args(device: Device, dtype: torch.dtype | None) -> dict[str, Any]:
    """Return the arguments that are not None, because a plug-in's constructor may not accept them."""
    given = {"device": device, "dtype": dtype}
    return {name: value for name, value in given.items() if value is not None}


def model_weights(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the model's parameters and buffers from the state of a training run, and any other state unchanged.

    A training run prefixes the model with "model.", and has other parts, such as averaged weights in "ema.module.".
    """
    if not any(name.startswith(TRAINED_PREFIX) for name in state):
        return state
    return {name.removeprefix(TRAINED_PREFIX): state[name] for name in state if name.startswith(TRAINED_PREFIX)}


def _explain_shape(shape: tuple[int, ...], channels: int) -> str:
    """Return the error message for images of another shape than [batch, channels, height, width]."""
    wanted = f"images have shape {list(shape)}, the model takes [batch, {channels}, height, width]"
    if len(shape) == 3 and shape[0] == channels:
        return f"{wanted}; use images.unsqueeze(0) for a batch of one image"
    if len(shape) == 4 and shape[1] != channels:
        if shape[3] == channels:
            return f"{wanted}; use images.permute(0, 3, 1, 2)"
        return f"{wanted}; give images of {channels} channels, or create the model with in_chans={shape[1]}"
    return wanted


def as_indices(indices: int | Sequence[int] | None) -> int | list[int] | None:
    """Stages to take in the types that timm's own helper wants."""
    return list(indices) if isinstance(indices, Sequence) else indices


def nhwc_to(x: Tensor, output_fmt: str) -> Tensor:
    """A map [B, H, W, C] as 'NHWC' or, contiguous, as 'NCHW'."""
    if output_fmt == "NHWC":
        return x
    # Not `contiguous`: it returns some maps of one row as they are, for which a captured graph would be specialized.
    return x.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)


def init_linear(module: nn.Module) -> None:
    """Truncated normal of standard deviation 0.02 for the weights of a linear layer, zero for its bias."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_stages(**settings: tuple[int, ...]) -> None:
    """Refuses settings that give different numbers of stages.

    Raises:
        ValueError: naming each setting and its value.
    """
    if len({len(setting) for setting in settings.values()}) != 1:
        given = ", ".join(f"{name}={tuple(setting)}" for name, setting in settings.items())
        raise ValueError(f"each stage needs one entry of each setting, got {given}")


def check_heads(dim: int, num_heads: int) -> None:
    """Refuses attention heads that the channels can't be shared out among.

    Raises:
        ValueError: naming both numbers.
    """
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f"{dim} channels can't be shared out among {num_heads} heads")
