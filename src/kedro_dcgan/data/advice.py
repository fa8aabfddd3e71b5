"""Advice from a manifest: settings that a user may want to change before training."""

import pandas as pd

from kedro_dcgan.config import LEAST_OF_CLASS
from kedro_dcgan.data import ACCEPTED, Reason

# A group with a larger share of the images makes the splits deviate from the requested sizes.
_LARGE_GROUP = 0.05
# Classes are unequal if one has this many times the images of another. Names of small classes that are listed.
_IMBALANCE, _SHOWN_CLASSES = 10, 5
# Pillow's modes without colour.
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "F")
# The size of the digits, which is not meant for photos; and the side that most recipes use for those.
_SMALL_SIDE, _USUAL_SIDE = 32, 64


def original_format(manifest: pd.DataFrame) -> tuple[float, float]:
    """Return the median shorter side of the accepted images, in pixels, and the share of colour images, 0 to 1.

    They are those of the files, before preprocessing; NaN if none is known. A colour image may show grey things.
    """
    accepted = manifest[manifest["verdict"] == ACCEPTED]
    is_colour = ~accepted["mode"].dropna().isin(_GREY_MODES)
    sides = accepted[["width", "height"]].min(axis=1).astype("float64")
    return float(sides.median()), float(is_colour.mean())


def advise_format(manifest: pd.DataFrame, image_size: int, channels: int) -> str | None:
    """Return the advice to train in colour or in 64x64, if most images are in colour or much larger than that."""
    side, colour_share = original_format(manifest)
    is_grey = channels == 1 and colour_share > 0.5
    is_small = image_size <= _SMALL_SIDE and side >= 2 * _USUAL_SIDE
    if not (is_grey or is_small):
        return None
    images = " and ".join(["in colour"] * is_grey + [f"at least {side:.0f} pixels wide and high"] * is_small)
    samples = f"{image_size}x{image_size}{' grey' if channels == 1 else ''}"
    remedy = "For colour: pass --params preprocessing.channels=3"
    if is_small:
        remedy = (
            "For 64x64 colour: pass --env=images64"
            if colour_share > 0.5
            else "Pass --params preprocessing.image_size=64"
        )
    return f"most images are {images}, but the samples are {samples}. {remedy}"


def advise(manifest: pd.DataFrame, image_size: int, channels: int) -> list[str]:
    """Return one sentence for each setting that the user may want to change."""
    accepted, advice, size = manifest[manifest["verdict"] == ACCEPTED], [], f"{image_size}x{image_size}"
    if of_format := advise_format(manifest, image_size, channels):
        advice.append(f"{of_format[0].upper()}{of_format[1:]}.")

    # Images that are too small: suggest the largest usual size for which most of them are large enough.
    small = manifest[manifest["reason"] == Reason.TOO_SMALL]
    judged = len(accepted) + len(small)
    if len(small) >= 0.05 * max(1, judged):
        sides = small[["width", "height"]].min(axis=1).to_numpy(dtype=float)
        smaller = [side for side in (16, 24, 32, 48, 64, 96, 128, 192, 256) if side < image_size]
        usable = [side for side in smaller if (sides >= side).mean() >= 0.5]
        other = f", or choose {usable[-1]}x{usable[-1]}" if usable else ""
        advice.append(
            f"{len(accepted):,} of {judged:,} images are large enough for {size}; "
            f"set a smaller `ingestion.min_size` to upscale the others{other}."
        )

    # Enlarged images. If all of them are enlarged, it is intended.
    whole = accepted[accepted["box"].isna()]
    enlarged = int(((whole["width"] < image_size) | (whole["height"] < image_size)).sum())
    if enlarged not in (0, len(whole)):
        advice.append(
            f"{enlarged:,} of {len(whole):,} images are smaller than {size} and were enlarged or padded: "
            "set `ingestion.min_size` to null to skip such images."
        )

    # Large groups of near-duplicates.
    largest = int(accepted["detail"].value_counts().max()) + 1 if accepted["detail"].notna().any() else 0
    if largest > _LARGE_GROUP * len(accepted):
        advice.append(
            f"{largest:,} of {len(accepted):,} images are near-duplicates of each other and are in one split: "
            "lower `ingestion.near_duplicates.most_bits`, or set `ingestion.near_duplicates.action` to keep."
        )
    return advice + _advise_classes(accepted)


def _advise_classes(accepted: pd.DataFrame) -> list[str]:
    """Return the advice for conditional training: missing labels, small classes, and very unequal ones."""
    labels = accepted["label"]
    unlabelled, counts = int(labels.isna().sum()), labels.value_counts()
    if len(counts) < 2:
        return []
    if unlabelled:
        return [f"{unlabelled:,} of {len(accepted):,} images have no label, so the dataset has no classes."]
    trained = labels[accepted["split"] == "train"].value_counts().reindex(counts.index, fill_value=0)
    advice, small = [], trained[trained < LEAST_OF_CLASS]
    if len(small):
        shown = ", ".join(f"{name}: {count}" for name, count in small.sort_values().head(_SHOWN_CLASSES).items())
        advice.append(
            f"{len(small):,} of {len(counts):,} classes have fewer than {LEAST_OF_CLASS} training images ({shown}): "
            "they are too few to learn a class from."
        )
    if counts.iloc[0] >= _IMBALANCE * counts.iloc[-1]:
        advice.append(
            f"class {counts.index[0]} has {counts.iloc[0]:,} images, class {counts.index[-1]} has {counts.iloc[-1]:,}: "
            "for conditional training, consider `training.class_sampling` balanced."
        )
    return advice
