"""``msgformer embed``: compute the pooled features of images."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from msgformer.checkpoints.model_location import find_trained_model
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.data_options import OnBadImage
from msgformer.config.training_options import Precision, Progress
from msgformer.data.files.image_inputs import open_inputs
from msgformer.errors import UserError
from msgformer.model_types import ImagesLike, ModelLike
from msgformer.utils.output_path import check_output_file
from msgformer.utils.packages import require_package
from msgformer.utils.result import Result

SUFFIXES = (".npy", ".parquet")


@dataclass(frozen=True)
class EmbedResult(Result):
    """Result of `msgformer.embed`.

    Attributes:
        output: File of the features.
        names: Text file with the image name of each row of a .npy file; None for Parquet, which holds the names.
        images: Number of rows.
        features: Number of columns.
        skipped: Images that were skipped because they can't be read.
    """

    output: Path
    names: Path | None
    images: int
    features: int
    skipped: list[str]

    def table(self) -> str:
        """Return the numbers of images and features, and the files."""
        beside = "" if self.names is None else f"; their names are in {self.names}"
        return f"{self.images:,} images with {self.features} features each in {self.output}{beside}"


def embed(
    model: ModelLike,
    images: ImagesLike,
    *,
    output: Path = Path("embeddings.npy"),
    overwrite: bool = False,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    progress: Progress = "auto",
) -> EmbedResult:
    """Compute the pooled features of images, for search, clustering and linear classifiers.

    The features of a classifier are the input of its last layer; those of a detector or segmenter are the spatial mean
    of its backbone's last feature map. Images are streamed, so that any number of them fits in memory.

    Args:
        model: Run folder (its best epoch), checkpoint, or converted weights.
        images: Image files, http(s) URLs, folders, tar files, videos, glob patterns, or "-" to read a list from
            standard input.
        output: File to write: .npy for an array with one row per image, plus a .txt file with their names; or .parquet
            for a table with the columns image and embedding.
        overwrite: Replace an existing file, once the new one is complete.
        on_bad_image: "stop" at an image that can't be read, or "skip" and report it.
        batch_size: Images per batch; by default 64 for classifiers, and 1 for detectors and segmenters.
        workers: Processes that load images; by default none for a single batch, otherwise the number of cores minus
            one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: Number format: float32, bf16 or fp16.
        progress: "bar", "lines" (every ten seconds) or "none"; "auto" shows a bar in a terminal and lines elsewhere.

    Returns:
        The files, and the numbers of images and features.

    Raises:
        UserError: A path does not exist, an image can't be read, the model is an exported file, or the output can't be
            written.
    """
    check_choices(embed, locals())
    check_ranges({"batch_size": batch_size, "workers": workers})
    output = Path(output)
    _check_output(output, overwrite=overwrite)
    if isinstance(model, str | Path):
        find_trained_model(model, "model")
    inputs = open_inputs(images)

    from dataclasses import replace

    from msgformer.tasks.embedding.file import open_embedding_file
    from msgformer.tasks.embedding.stream import stream_embeddings
    from msgformer.tasks.loaded_model import load_any
    from msgformer.tasks.progress import track_progress

    loaded = load_any(model, device=device, precision=precision)
    loaded.opened.require_trained("embed")
    config = replace(loaded.config, batch_size=batch_size, workers=workers)
    predictor = loaded.opened.task.predictor(loaded.opened, config)
    inputs = inputs.scaled(predictor.value_range)
    batches = stream_embeddings(loaded.opened, predictor, inputs.items, on_bad_image)
    skipped: list[str] = []
    with open_embedding_file(output) as file:
        for batch in track_progress(
            batches, lambda one: len(one.names) + len(one.skipped), progress, "embedding", inputs.total
        ):
            file.write(batch.names, batch.features)
            skipped += batch.skipped
    if skipped:
        print(f"left out {len(skipped)} image(s), which can't be read", file=sys.stderr)
    return EmbedResult(output, file.names_path, file.count, file.width, skipped)


def _check_output(output: Path, *, overwrite: bool) -> None:
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"output: {output} has to end with {' or '.join(SUFFIXES)}")
    if suffix == ".parquet":
        require_package("pyarrow", "parquet", f"output {output}")
    check_output_file(output, *([output.with_suffix(".txt")] if suffix == ".npy" else []), overwrite=overwrite)
