"""A DeiT whose CLS token can be random, for comparison with messengers (Table 5 of the MSG-Transformer paper).

It is timm's DeiT-S but for the token: ``create_model("deit_small_cls", cls="random_eval")``.
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
    """A vision transformer that reads its answer from a CLS token, learned or not.

    Args:
        cls: 'learned'; 'random_eval': learned, but random in evaluation (row 5); or 'random': never trained, and
            another one in evaluation.
        **kwargs: Arguments of timm's ``VisionTransformer``.

    Raises:
        ValueError: ``cls`` is something else.
    """

    drawn: Tensor

    def __init__(self, cls: Cls = "learned", **kwargs: Any) -> None:
        if cls not in ("learned", "random_eval", "random"):
            raise ValueError(f"cls has to be 'learned', 'random_eval' or 'random', got {cls!r}")
        super().__init__(**kwargs)
        assert self.cls_token is not None
        self.cls = cls
        trunc_normal_(self.cls_token, std=0.02)  # as DeiT has it; timm's own is all but zero
        self.cls_token.requires_grad_(cls != "random")
        self.register_buffer("drawn", draw_tokens(self.cls_token), persistent=False)

    def init_non_persistent_buffers(self) -> None:
        """Draw the same token again; timm's ``reinit_non_persistent_buffers`` calls this after ``to_empty``."""
        self.drawn = draw_tokens(self.drawn)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load as `nn.Module.load_state_dict` does; the state of a training run, prefixed "model.", is accepted too."""
        return super().load_state_dict(model_weights(state_dict), *args, **kwargs)

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Patches [B, H * W, C] to the sequence with the CLS token in front, [B, 1 + H * W, C]."""
        x = super()._pos_embed(x)
        if self.training or self.cls == "learned":
            return x
        assert self.cls_token is not None
        # Positions have been added and, in evaluation, nothing is dropped: only the token itself is to be changed.
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
    """DeiT-S, patches of 16 x 16."""
    args = dict(patch_size=16, embed_dim=384, depth=12, num_heads=6)
    return build_timm_model(ClsTransformer, "deit_small_cls", pretrained, **{**args, **kwargs})
