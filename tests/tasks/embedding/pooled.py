"""Pooled features by the unoptimized module."""

import numpy as np
import torch
from PIL import Image

import msgformer


@torch.inference_mode()
def pooled(model, path):
    """Compute the features of an image by the unoptimized module."""
    image = model.preprocess(Image.open(path).convert("RGB"))[None]
    module = model.module
    if isinstance(model, msgformer.Classifier):
        return module.forward_head(module.forward_features(image), pre_logits=True)[0].numpy()
    if isinstance(model, msgformer.Detector):
        batch, _ = module.transform(list(image))
        height, width = batch.image_sizes[0]
        maps = list(module.backbone.body(batch.tensors))
    else:
        height, width = image.shape[-2:]
        maps = list(module.backbone(torch.nn.functional.pad(image, (0, -width % 32, 0, -height % 32))))
    return maps[-1][0, :, : -(-height // 32), : -(-width // 32)].mean((1, 2)).numpy()


def pooled_features(model, paths):
    """Return the features [N, D] of images."""
    return np.stack([pooled(model, path) for path in paths])
