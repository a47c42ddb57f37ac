"""Mixup and CutMix, by timm."""

from __future__ import annotations

from timm.data import Mixup

from msgformer.config.data_options import AugmentOptions


def mixes(options: AugmentOptions) -> bool:
    """Return whether batches may be mixed, which needs an even batch size."""
    return options.enabled and options.mix_prob > 0 and (options.mixup > 0 or options.cutmix > 0)


def build_mixer(options: AugmentOptions, num_classes: int) -> Mixup | None:
    """Create the function ``images, targets = mixer(images, labels)``, with targets [B, classes].

    Its random numbers come from NumPy's global generator.

    Args:
        options: Augmentation options.
        num_classes: Number of classes.

    Returns:
        The mixer; None if mixing is disabled.
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
