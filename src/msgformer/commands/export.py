"""``msgformer export``: write a model as ONNX, OpenVINO, ExecuTorch, torch.export or AOTInductor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgformer.checkpoints.export_card import SUFFIXES, Format, Precision, span
from msgformer.checkpoints.model_location import ModelKind, find_model, refuse_exported
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.errors import UserError
from msgformer.exporters.packages import require_writer
from msgformer.model_types import ModelLike
from msgformer.utils.output_path import check_output_file
from msgformer.utils.packages import require_package
from msgformer.utils.result import Result


@dataclass(frozen=True)
class Exported(Result):
    """Result of `msgformer.export`: the file, and how it compares with the model.

    Attributes:
        output: The file; OpenVINO's weights are in a .bin file beside it.
        format: Its format.
        precision: Number format of its weights.
        model: Name of the model.
        input: Minimum and maximum of the batch size, height and width of the input.
        checked_on: Number and kind of the images on which the file was compared with the model.
        max_difference: Largest difference of any output from the model's.
        agreement: Images (or pixels) whose top-1 class is the model's, or objects that both find, in percent.
        significance_difference: Largest relative difference of SG-Former's significance maps. If it is given, the
            outputs were compared with the same token order in both.
        model_ms: Median milliseconds per batch of the model in PyTorch.
        file_ms: Median milliseconds per batch of the file, timed alternately with the model.
        box_difference: For detectors, largest difference of any box coordinate, in pixels, over the objects that both
            find.
        objects: For detectors, number of distinct objects that the model or the file found.
    """

    output: Path
    format: Format
    precision: Precision
    model: str
    input: dict[str, tuple[int, int]]
    checked_on: str
    max_difference: float
    agreement: float
    significance_difference: float | None
    model_ms: float
    file_ms: float
    box_difference: float | None = None
    objects: int | None = None

    def table(self) -> str:
        """Return the comparison as text."""
        sides = ", ".join(f"{name} {span(bounds)}" for name, bounds in self.input.items())
        order = ""
        if self.significance_difference is not None:
            order = f" with the same token order; significance maps differ by {self.significance_difference:.1e}"
        return (
            f"{self.output}: {self.model}, {self.format}, {self.precision}; {sides}\n"
            f"checked on {self.checked_on}: largest difference {self.max_difference:.2e}{order},"
            f" {self._agreement_text()}\n"
            f"PyTorch {self.model_ms:.1f} ms, file {self.file_ms:.1f} ms per batch (medians, timed alternately)"
        )

    def _agreement_text(self) -> str:
        if self.box_difference is None:
            return f"same class {self.agreement:.1f} %"
        matched = f"{self.agreement:.1f} % of {self.objects} objects found by both"
        return f"boxes by {self.box_difference:.1e} pixels, {matched}"


def export(
    model: ModelLike,
    *,
    format: Format = "onnx",
    output: Path | None = None,
    overwrite: bool = False,
    img_size: int | tuple[int, int] | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
    dynamic_size: bool = False,
    int8: bool = False,
    calibration: Path | None = None,
) -> Exported:
    """Write a model as a file that runs without this package, and check it against the model on real images.

    The file includes its classes, preprocessing and valid input sizes. It is written only after it was checked.

    Args:
        model: Run folder (its best epoch), checkpoint, file of 'msgformer convert', or the name of a model of this
            package or of timm (random weights).
        format: "onnx", "openvino" and "executorch" need extras. "torch-export" needs none; "aoti" needs a C++ compiler
            and produces code for this machine's CPU.
        output: File to write; by default beside the checkpoint and named after it, or in the current folder and named
            after the model.
        overwrite: Replace an existing file, once the new one is complete.
        img_size: Image size: the side of a square, or height and width; by default as in training.
        batch_size: Images per batch, unless --dynamic_batch is given.
        dynamic_batch: Accept any batch size.
        dynamic_size: Accept images of any height and width.
        int8: Quantize weights and activations with NNCF; for ONNX and OpenVINO.
        calibration: With --int8, image file or folder to calibrate the activation ranges on; by default the images that
            the run held out.

    Returns:
        The file, and how it compares with the model.

    Raises:
        UserError: An argument can't be used, a package is missing, the model does not support the format, the outputs
            of the file differ from the model's, or the file can't be written.
    """
    check_choices(export, locals())
    check_ranges({"batch_size": batch_size, "img_size": img_size})
    _check_format(format, int8=int8, calibration=calibration, dynamic=dynamic_batch or dynamic_size)
    _check_model(model)
    path = _output(model, format, output, int8=int8)
    check_output_file(path, *([path.with_suffix(".bin")] if format == "openvino" else []), overwrite=overwrite)
    size = (img_size, img_size) if isinstance(img_size, int) else img_size

    from msgformer.tasks.export.run import run_export
    from msgformer.tasks.loaded_model import open_any

    opened = open_any(model, img_size=size)
    card, checked_on, found = run_export(
        opened.task.export_source(opened, size),
        format,
        path,
        batch_size,
        None if calibration is None else Path(calibration),
        dynamic_batch=dynamic_batch,
        dynamic_size=dynamic_size,
        int8=int8,
    )
    return Exported(
        output=path,
        format=format,
        precision=card.precision,
        model=card.model,
        input={"batch": card.sizes.batch, "height": card.sizes.height, "width": card.sizes.width},
        checked_on=f"{found.images} inputs of {checked_on}",
        max_difference=found.max_difference,
        agreement=found.agreement,
        significance_difference=found.significance_difference,
        model_ms=1000 * found.model_seconds,
        file_ms=1000 * found.file_seconds,
        box_difference=found.box_difference,
        objects=found.objects,
    )


def _check_model(model: ModelLike) -> None:
    """Check that the model exists and is no exported file."""
    if isinstance(model, str | Path):
        if find_model(model, "model").kind is ModelKind.EXPORTED:
            refuse_exported(model)
    elif (opened := getattr(model, "opened", None)) is not None:
        _ = opened.module  # an exported file has none


def _check_format(format: Format, *, int8: bool, calibration: Path | None, dynamic: bool) -> None:
    require_writer(format, f"format {format}")
    if dynamic and format == "executorch":  # it plans memory for the largest input that is allowed
        raise UserError("format executorch: a file takes inputs of one size; leave out --dynamic_batch, --dynamic_size")
    if int8:
        if format not in ("onnx", "openvino"):
            raise UserError(f"int8: not for format {format}; give --format onnx or openvino")
        require_package("nncf", "int8", "int8")
    elif calibration is not None:
        raise UserError("calibration is for --int8; add --int8, or leave it out")
    if calibration is not None and not Path(calibration).exists():
        raise UserError(f"calibration: {calibration} doesn't exist; give images or a folder of them")


def _output(given: ModelLike, format: Format, output: Path | None, *, int8: bool) -> Path:
    """Return the path to write to; raise UserError if it has the suffix of another format."""
    suffix = SUFFIXES[format]
    if output is None:
        kind = ("-int8" if int8 else "") + ("-aoti" if format == "aoti" else "")
        model = _base_path(given)
        base = model / "best" if model.is_dir() else model if model.is_file() else Path(model.name)
        name = base.stem if model.is_file() else base.name
        return base.with_name(f"{name}{kind}{suffix}")
    output = Path(output)
    if output.suffix.lower() != suffix:
        raise UserError(f"output '{output}' has to end with {suffix} for format {format}; try '{output.stem}{suffix}'")
    return output


def _base_path(model: ModelLike) -> Path:
    """Return the path beside which the file is written by default."""
    if isinstance(model, str | Path):
        return Path(model)
    opened = getattr(model, "opened", None)
    path = None if opened is None else opened.path
    return path if path is not None else Path(type(model).__name__.lower())
