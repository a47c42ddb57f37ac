"""Split of a detection dataset into training and validation images."""

from __future__ import annotations

from collections import Counter

from msgformer.data.detection.instances import AnnotatedImage, InstanceSet
from msgformer.data.loading.split import SplitRule, assign_subsets, match_groups, read_split_file, split_images
from msgformer.errors import UserError


def split_by_rule(data: InstanceSet, rule: SplitRule) -> tuple[InstanceSet, InstanceSet, InstanceSet | None]:
    """Split images so that the images of each rare class are split by the same fraction, or evenly into folds.

    Each image counts for its class with the fewest images; images of a class with a single one are for training.

    Args:
        data: All images.
        rule: How the images are split.

    Returns:
        Training images, validation images, and those that a split file keeps for a test, if any.

    Raises:
        UserError: There are fewer than two images with objects, or the images can't be split so.
    """
    names = [data.name(place) for place in range(len(data))]
    if rule.file is not None:
        has_masks = data.has_masks
        # A run doesn't train on images without objects, so its record lacks them.
        listed = read_split_file(rule.file)
        used = [place for place, name in enumerate(names) if name in listed or data.images[place].trainable(has_masks)]
        parts = assign_subsets([names[place] for place in used], rule.file)
        train, val, test = (data.subset([used[one] for one in parts[subset]]) for subset in ("train", "val", "test"))
        return train, val, test if len(test) else None
    groups = None if rule.by is None else match_groups(names, rule.by)
    if rule.folds is None and rule.fraction == 0:
        return data, data.subset([]), None
    counts = Counter(label for image in data.images for label in _labels(image))
    rarest = [min(_labels(image), key=lambda label: (counts[label], label), default=0) for image in data.images]
    members = Counter(rarest)
    usable = [label for label in sorted(members) if members[label] > 1]
    if not any(usable):
        raise UserError(f"{data.root}: {len(data)} image(s) are too few to split; add some, or a val set")
    strata = {label: stratum for stratum, label in enumerate(usable)}
    places = [place for place, label in enumerate(rarest) if label in strata]
    classes = ["without objects" if label == 0 else data.classes[label - 1] for label in usable]
    labels = [strata[rarest[place]] for place in places]
    if groups is not None:  # the single images stay with their groups
        places, labels = [*range(len(data))], [strata.get(label, 0) for label in rarest]
    _, chosen = split_images(labels, classes, rule, groups)
    held_out = {places[index] for index in chosen}
    kept = [place for place in range(len(data)) if place not in held_out]
    return data.subset(kept), data.subset(sorted(held_out)), None


def _labels(image: AnnotatedImage) -> set[int]:
    return {one.label for one in image.instances if not one.crowd}
