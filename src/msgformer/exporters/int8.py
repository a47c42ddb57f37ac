"""Post-training quantization of exported models to 8-bit weights and activations, by NNCF."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from msgformer.errors import UserError
from msgformer.exporters.program import INPUT, quiet


def quantize(model: Any, batches: Sequence[Tensor]) -> Any:
    """Return a quantized copy of a model.

    Args:
        model: An ``onnx.ModelProto`` or an ``openvino.Model``.
        batches: Inputs [B, C, H, W] of real images, from which the ranges of activations are estimated.

    Raises:
        UserError: NNCF can't quantize the model.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # hides a warning about missing CUDA
    import nncf
    from nncf.quantization.advanced_parameters import QuantizationParameters

    nncf.set_log_level(logging.ERROR)
    # One scale per tensor: NNCF uses the wrong channel axis for a depthwise convolution with a permuted input, as all
    # of SG-Former's are.
    whole = QuantizationParameters(per_channel=False)
    advanced = nncf.AdvancedQuantizationParameters(activations_quantization_params=whole)
    if _is_openvino(model):
        _give_each_layer_its_own_weights(model)
    else:
        # SmoothQuant needs weights that are constants in ONNX, but SG-Former reshapes some of its weights first.
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
    """Fold expressions of constants in an OpenVINO graph.

    MSG-Transformer's patch merging reshapes the weights of a convolution for its messengers, and NNCF would confuse the
    axes of the two uses.
    """
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _is_openvino(model: Any) -> bool:
    return type(model).__module__.partition(".")[0] == "openvino"
