"""Mixup and CutMix, by timm."""

from __future__ import annotations

from timm.data import Mixup

from msgformer.config.data_options import AugmentOptions


def mixes(options: AugmentOptions) -> bool:
    """Whether batches are ever mixed; they must then be of even size."""
    return options.enabled and options.mix_prob > 0 and (options.mixup > 0 or options.cutmix > 0)


def build_mixer(options: AugmentOptions, num_classes: int) -> Mixup | None:
    """What mixes a batch, ``images, targets = mixer(images, labels)`` with targets [B, classes]; None if nothing does.

    Its choices are drawn from NumPy's global generator.
    """
    if not mixes(options):
        return None
    return Mixup(
        mixup_alpha=options.mixup,
        cutmix_alpha=options.cutmix,
        prob=options.mix_prob,
        switch_prob=options.mix_switch_prob,
        mode=options.mix_mode,
        label_smoothing=options.smoothing,
        num_classes=num_classes,
    )
