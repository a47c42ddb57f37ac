"""Base of both model families: the interface of a timm model over a sequence of stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from timm.layers import ClassifierHead, to_2tuple, trunc_normal_
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from msgformer.errors import UserError
from msgformer.kernels.graph_capture import is_recorded, is_traced
from msgformer.models.window import Size

Device = torch.device | str | None

STORED_SHARE = 0.15
"""Share of all activations that gradient checkpointing stores instead of recomputing."""

TRAINED_PREFIX = "model."
"""Prefix of the model's parameters in the state of a training run."""


class Backbone(nn.Module, ABC):
    """A hierarchical vision transformer with timm's interface.

    A family defines `forward_stages`, `final_features` and `final_map`; the rest of the interface follows from them.

    Args:
        img_size: Intended height and width of images, or the side of a square.
        in_chans: Channels of the image.
        num_classes: Number of classes; 0 for none.
        embed_dims: Channels per stage.
        global_pool: Pooling before the classifier: 'avg', 'max', ... or '' for none.
        drop_rate: Dropout rate before the classifier.
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
        """Run the stages on images [B, 3, S, T]; yield each stage's outputs, first its patch map [B, H, W, C]."""

    @abstractmethod
    def final_features(self, *outputs: Tensor) -> Tensor:
        """Return the features that the classifier pools, [B, H, W, C], from the last stage's outputs."""

    def as_maps(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """Return all outputs of a stage as maps [B, H, W, C]."""
        return outputs

    @abstractmethod
    def final_map(self, patches: Tensor) -> Tensor:
        """Apply the final norm to the last stage's patch map [B, H, W, C]; same shape."""

    def check_images(self, x: Tensor) -> None:
        """Check the shape and type of a batch of images; captured and traced graphs skip the check.

        Args:
            x: Images, expected as [B, C, H, W].

        Raises:
            UserError: The batch has another rank, number of channels or type than the model, or no pixels.
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
        if (
            not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64
        ):  # autocast does not convert float64
            raise UserError(
                f"images are {x.dtype}, the model's weights {weight.dtype}; give images.to({weight.dtype}), "
                "or convert the model"
            )

    def skips_unused_tokens(self, x: Any) -> bool:
        """Whether a classifier skips the tokens that it does not use: in training.

        A graph of `torch.fx` has to compute them, because any node may be extracted.

        Args:
            x: Images [B, C, H, W], or a proxy.
        """
        return self.training and not is_traced(x)

    def pools_repeated_tokens(self) -> bool:
        """Whether the classifier pools each token twice: in captured graphs.

        A graph would otherwise be specialized for maps of one token, where [B * H * W, C] has the shape [B, C].
        """
        return torch.compiler.is_compiling() and not self.head.global_pool.is_identity()

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load parameters as `nn.Module.load_state_dict` does; accept the state of a training run, too.

        Args:
            state_dict: Parameters by name; in a training run the names have the prefix "model.".
            *args: Further arguments of `nn.Module.load_state_dict`.
            **kwargs: Further arguments of `nn.Module.load_state_dict`.
        """
        return super().load_state_dict(model_weights(state_dict), *args, **kwargs)

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute the features that the classifier pools, [B, H, W, C], of images [B, 3, S, T]."""
        *_, outputs = self.forward_stages(x)
        return self.final_features(*outputs)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify features.

        Args:
            x: Features [B, H, W, C].
            pre_logits: Return pooled features instead of logits.

        Returns:
            Logits [B, classes], or pooled features [B, C].
        """
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images [B, 3, S, T]; return logits [B, classes]."""
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
        """Return the maps of patch tokens after several stages.

        Args:
            x: Images [B, 3, S, T].
            indices: Stages to return; an int selects the last ones, None all.
            norm: Apply the final norm to the last stage's map.
            stop_early: Skip the stages after the last selected one.
            output_fmt: 'NCHW' or 'NHWC'.
            intermediates_only: Return only the maps.

        Returns:
            Maps [B, C, H, W] per stage, or a pair of final features (see `forward_features`) and maps. If
            ``stop_early`` skips stages, the final features are the map of the last stage that ran.

        Raises:
            ValueError: Unknown output format.
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
        """Run the stages for `forward_intermediates`, which documents the arguments.

        Returns:
            Final features, and per selected stage its patch map, or all its outputs as maps with ``all_outputs``.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt must be 'NCHW' or 'NHWC', got {output_fmt!r}")
        # timm has no public name for this function, which gives a model the same errors as timm's own models.
        take, last = feature_take_indices(len(self.stages), as_indices(indices))
        taken: list[tuple[Tensor, ...]] = []
        outputs: tuple[Tensor, ...] = ()
        index = -1
        for index, outputs in enumerate(self.forward_stages(x)):
            if index in take:
                final = norm and index == self.num_stages - 1
                maps = self.as_maps(*outputs) if all_outputs else outputs[:1]
                maps = (self.final_map(maps[0]), *maps[1:]) if final else maps
                taken.append(tuple(nhwc_to(map_, output_fmt) for map_ in maps))
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
        """Remove the parts that the selected stages do not need.

        Args:
            indices: Stages whose outputs are needed; an int selects the last ones.
            prune_norm: Remove the final norm.
            prune_head: Remove the classifier.

        Returns:
            Indices of the selected stages, from 0.
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
        """Remove the norm that `final_features` and `final_map` apply, where no stage needs it."""

    def record_args(self, **args: Any) -> None:
        """Update the constructor arguments that timm's `save_for_hf` writes, after the model has been changed."""
        self._model_args = {**getattr(self, "_model_args", {}), **args}
        if "img_size" in args:
            self._traits = {**getattr(self, "_traits", {}), "img_size": args["img_size"]}

    def get_classifier(self) -> nn.Module:
        """Return the linear layer of the classifier."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier.

        Args:
            num_classes: Number of classes.
            global_pool: Pooling before the classifier; None leaves it unchanged.
        """
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of storing their activations.

        The last blocks still store theirs, a share of `STORED_SHARE` of all activations. They need little memory for
        the time that recomputing them takes, and it is free again when the backward pass reaches the first blocks,
        which need the most.
        """
        # Relative size of a block's activations.
        sizes = [info["num_chs"] / info["reduction"] ** 2 for info in self.feature_info[: len(self.stages)]]
        stages = list(zip(sizes, self.stages, strict=True))
        budget = STORED_SHARE * sum(size * len(stage.blocks) for size, stage in stages)
        for size, stage in reversed(stages):
            num_stored = min(len(stage.blocks), int(budget / size))
            budget -= num_stored * size
            stage.num_recomputed = len(stage.blocks) - num_stored if enable else 0

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return patterns that group parameters from input to output, for layer-wise learning rates."""
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
    """Return the arguments that are not None, because the constructor of a plug-in may not accept them.

    Args:
        device: Device of the parameters.
        dtype: Type of the parameters.
    """
    given = {"device": device, "dtype": dtype}
    return {name: value for name, value in given.items() if value is not None}


def model_weights(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the model's parameters and buffers from the state of a training run, and any other state unchanged.

    A training run prefixes the model with "model.", and has other entries, such as averaged weights in "ema.module.".
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
    """Convert stage indices to the types that timm's helper expects."""
    return list(indices) if isinstance(indices, Sequence) else indices


def nhwc_to(x: Tensor, output_fmt: str) -> Tensor:
    """Convert a map to an output format.

    Args:
        x: Map [B, H, W, C].
        output_fmt: 'NHWC' or 'NCHW'.

    Returns:
        Map [B, H, W, C], or contiguous [B, C, H, W].
    """
    if output_fmt == "NHWC":
        return x
    # Not `contiguous`: it returns some maps of one row as they are, for which a captured graph would be specialized.
    return x.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)


def init_linear(module: nn.Module) -> None:
    """Initialize a linear layer: truncated normal weights with standard deviation 0.02, zero bias."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
