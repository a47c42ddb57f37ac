"""Split of a detection dataset into training and validation images."""

from __future__ import annotations

from collections import Counter

from msgformer.data.detection.instances import AnnotatedImage, InstanceSet
from msgformer.data.loading.split import stratified_split
from msgformer.errors import UserError


def split_instances(data: InstanceSet, val_fraction: float, seed: int) -> tuple[InstanceSet, InstanceSet]:
    """Split images so that the images of each rare class are split by the same fraction.

    Each image counts for its class with the fewest images; images of a class with a single one are for training.

    Args:
        data: All images.
        val_fraction: Fraction of the images for validation.
        seed: Seed of the random generator.

    Returns:
        Training images and validation images.

    Raises:
        UserError: There are fewer than two images with objects.
    """
    counts = Counter(label for image in data.images for label in _labels(image))
    rarest = [min(_labels(image), key=lambda label: (counts[label], label), default=0) for image in data.images]
    members = Counter(rarest)
    usable = [label for label in sorted(members) if members[label] > 1]
    if not any(usable):
        raise UserError(f"{data.root}: {len(data)} image(s) are too few to split; add some, or a val set")
    strata = {label: stratum for stratum, label in enumerate(usable)}
    places = [place for place, label in enumerate(rarest) if label in strata]
    names = ["without objects" if label == 0 else data.classes[label - 1] for label in usable]
    _, chosen = stratified_split([strata[rarest[place]] for place in places], names, val_fraction, seed)
    held_out = {places[index] for index in chosen}
    train = [place for place in range(len(data)) if place not in held_out]
    return data.subset(train), data.subset(sorted(held_out))


def _labels(image: AnnotatedImage) -> set[int]:
    return {one.label for one in image.instances if not one.crowd}
