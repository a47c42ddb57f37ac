"""Weights and activations of an exported file in 8 bits, by NNCF's post-training quantization."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from msgformer.errors import UserError
from msgformer.exporters.program import INPUT, quiet


def quantize(model: Any, batches: Sequence[Tensor]) -> Any:
    """A quantized copy.

    Args:
        model: An ``onnx.ModelProto`` or an ``openvino.Model``.
        batches: Inputs [B, C, H, W] of real images, from which ranges of activations are taken.

    Raises:
        UserError: NNCF can't quantize the model.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it tells that there is no CUDA
    import nncf
    from nncf.quantization.advanced_parameters import QuantizationParameters

    nncf.set_log_level(logging.ERROR)
    # One scale a tensor: NNCF takes the wrong axis for the channels of a depth-wise convolution whose input was
    # permuted, and SG-Former's all are.
    whole = QuantizationParameters(per_channel=False)
    advanced = nncf.AdvancedQuantizationParameters(activations_quantization_params=whole)
    if _is_openvino(model):
        _give_each_layer_its_own_weights(model)
    else:
        # Scales of channels are chosen by weights, which have to be constants in ONNX: SG-Former reshapes some first.
        advanced.smooth_quant_alphas = nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
    dataset = nncf.Dataset(batches, lambda images: {INPUT: images.numpy()})
    try:
        with quiet():
            return nncf.quantize(
                model,
                dataset,
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(batches),
                advanced_parameters=advanced,
            )
    except (RuntimeError, nncf.errors.InternalError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"NNCF can't quantize this model ({reason}); leave out --int8, or try another format"
        ) from error


def _give_each_layer_its_own_weights(model: Any) -> None:
    """Make what is computed from weights alone a constant, in an OpenVINO graph.

    MSG-Transformer's merging reshapes a convolution's weights for its messengers, and NNCF takes the axes of the one
    for the other's.
    """
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _is_openvino(model: Any) -> bool:
    return type(model).__module__.partition(".")[0] == "openvino"
