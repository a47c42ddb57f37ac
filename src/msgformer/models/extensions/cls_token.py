"""DeiT with a learned or random CLS token, for comparison with messengers (Table 5 of the MSG-Transformer paper).

Apart from the token it is timm's DeiT-S: ``create_model("deit_small_cls", cls="random_eval")``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from timm.layers import trunc_normal_
from timm.models import generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from msgformer.models.backbone import model_weights
from msgformer.models.messengers import draw_tokens
from msgformer.models.registry import build_timm_model, pretrained_cfg

Cls = Literal["learned", "random_eval", "random"]


class ClsTransformer(VisionTransformer):
    """A vision transformer that classifies from a CLS token, learned or random.

    Args:
        cls: 'learned'; 'random_eval' for a token that is learned, but random in evaluation (row 5); or 'random' for a
            token that is never trained, and differs in evaluation.
        **kwargs: Arguments of timm's ``VisionTransformer``.

    Raises:
        ValueError: Another value of ``cls``.
    """

    drawn: Tensor

    def __init__(self, cls: Cls = "learned", **kwargs: Any) -> None:
        if cls not in ("learned", "random_eval", "random"):
            raise ValueError(f"cls must be 'learned', 'random_eval' or 'random', got {cls!r}")
        super().__init__(**kwargs)
        assert self.cls_token is not None
        self.cls = cls
        trunc_normal_(self.cls_token, std=0.02)  # as in DeiT; timm initializes it with std 1e-6
        self.cls_token.requires_grad_(cls != "random")
        self.register_buffer("drawn", draw_tokens(self.cls_token), persistent=False)

    def init_non_persistent_buffers(self) -> None:
        """Draw the same token again; timm's ``reinit_non_persistent_buffers`` calls this after ``to_empty``."""
        self.drawn = draw_tokens(self.drawn)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load parameters as `nn.Module.load_state_dict` does; accept the state of a training run, too.

        Args:
            state_dict: Parameters by name; in a training run the names have the prefix "model.".
            *args: Further arguments of `nn.Module.load_state_dict`.
            **kwargs: Further arguments of `nn.Module.load_state_dict`.
        """
        return super().load_state_dict(model_weights(state_dict), *args, **kwargs)

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Prepend the CLS token to patch tokens [B, H * W, C] and add positions: [B, 1 + H * W, C]."""
        x = super()._pos_embed(x)  # timm's public methods don't separate this step from the blocks
        if self.training or self.cls == "learned":
            return x
        assert self.cls_token is not None
        # In evaluation there is no dropout, so the position embedding stays and only the token is replaced.
        return torch.cat([x[:, :1] + (self.drawn - self.cls_token), x[:, 1:]], dim=1)


default_cfgs = generate_default_cfgs(
    {
        "deit_small_cls": pretrained_cfg(
            fixed_input_size=True, crop_pct=0.9, pool_size=None, first_conv="patch_embed.proj", classifier="head"
        )
    }
)


@register_model
def deit_small_cls(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DeiT-S with patches of 16 x 16.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `ClsTransformer` and of ``timm.create_model``.
    """
    args = dict(patch_size=16, embed_dim=384, depth=12, num_heads=6)
    return build_timm_model(ClsTransformer, "deit_small_cls", pretrained, **{**args, **kwargs})
