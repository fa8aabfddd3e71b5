"""The manifest: one row for each input, with its content hash, its verdict and its split.

It is the identity of the dataset. A split depends on content alone, that of the image or of a near-duplicate, so it
does not change when files are renamed or reordered, or unrelated ones are added.
"""

from typing import Literal

import numpy as np
import pandas as pd

from kedro_dcgan.data import ACCEPTED, SKIPPED, Reason
from kedro_dcgan.data.duplicates import group_near_duplicates
from kedro_dcgan.errors import DataError, in_short

SPLITS = ("train", "validation", "test")
COLUMNS = (
    "path", "sha256", "bytes", "format", "width", "height", "mode", "label", "box", "verdict", "reason", "detail",
    "split", "row",
)  # fmt: skip
_SPLIT_FOLDERS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "dev"))
# A group with a larger share of the images makes the splits deviate from the requested sizes.
_LARGE_GROUP = 0.05
# Pillow's modes without colour, and the side that most recipes use for photos.
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "F")
# The size of the digits, which is not meant for photos; and the usual size for those.
_SMALL_SIDE, _USUAL_SIDE = 32, 64
NearDuplicates = Literal["keep", "group", "skip"]


def split_of(sha256: pd.Series, train: float, validation: float, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the splits of content hashes: the first 64 bits, read as a fraction of 1, choose the split.

    With group numbers `groups`, `(N,)`, one member decides for its group.
    """
    bits = _bits(sha256, 0)
    if groups is not None and len(groups):
        # The member with the smallest other bits decides: the smallest first bits would favour the first split.
        order = np.lexsort((_bits(sha256, 32), groups))
        _, begins, group = np.unique(groups[order], return_index=True, return_inverse=True)
        bits[order] = bits[order[begins]][group]
    places = np.searchsorted([train, train + validation], bits.astype(np.float64) / 2**64, side="right")
    return np.array(SPLITS, dtype=object)[places]


def complete_manifest(
    records: pd.DataFrame, train: float, validation: float, near_duplicates: NearDuplicates = "keep", most_bits: int = 0
) -> pd.DataFrame:
    """Sort the records by path, skip exact duplicates of an earlier one, and assign splits to the others.

    `records` has the columns of `ImageRecord`. Near-duplicates, whose perceptual hashes differ in at most `most_bits`,
    are all kept (`keep`), all kept in one split (`group`; `detail` names the first of them), or skipped except for
    the first by path (`skip`).
    """
    manifest = records.sort_values("path", ignore_index=True, key=lambda path: path.astype("string[pyarrow]"))
    manifest["split"] = pd.Series(pd.NA, index=manifest.index, dtype="string")
    _mark_repeats(manifest, "sha256", "the same bytes as", Reason.DUPLICATE)
    if near_duplicates != "keep":
        accepted = manifest["verdict"] == ACCEPTED
        hashes = manifest.loc[accepted, "perceptual_hash"].to_numpy(dtype=np.uint64)
        manifest.loc[accepted, "alike"] = group_near_duplicates(hashes, most_bits)
        _mark_repeats(manifest, "alike", "looks like", Reason.NEAR_DUPLICATE if near_duplicates == "skip" else None)
    accepted = manifest["verdict"] == ACCEPTED
    groups = manifest.loc[accepted, "alike"].to_numpy() if near_duplicates == "group" else None
    manifest.loc[accepted, "split"] = split_of(manifest.loc[accepted, "sha256"], train, validation, groups)
    manifest["label"] = _classes_of(manifest["label"], accepted)
    return manifest[list(COLUMNS)]


def _classes_of(labels: pd.Series, accepted: pd.Series) -> pd.Series:
    """Return the labels without folders for splits, or no labels if most of them are of a single image."""
    names = [label.split("/") for label in labels[accepted].dropna().unique()]
    # Images of all splits are in `train/cat` and `test/cat`, in `data/train/cat`, or in `cat/train`.
    depths = (*range(min(map(len, names), default=0)), -1) if names else ()
    depth = next((at for at in depths if all(name[at].lower() in _SPLIT_FOLDERS for name in names)), None)
    if depth is not None:
        classes = dict[str, str | None]()
        for label in labels.dropna().unique():
            folders = label.split("/")
            if len(folders) > depth and folders[depth].lower() in _SPLIT_FOLDERS:
                del folders[depth]
            classes[label] = "/".join(folders) or None
        labels = labels.map(classes).astype(labels.dtype)
    # A folder for each image is no class: no classifier could learn it.
    counts = labels[accepted].value_counts()
    is_alone = 2 * (counts == 1).sum() > len(counts)
    return pd.Series(None, index=labels.index, dtype=labels.dtype) if is_alone else labels


def require_valid(manifest: pd.DataFrame, name: str) -> None:
    """Raise DataError unless a stored manifest has the columns, verdicts, splits and rows of `complete_manifest`."""
    fault = None
    try:
        accepted, rows = manifest["verdict"] == ACCEPTED, manifest["row"].dropna().to_numpy()
        hashes = manifest.loc[accepted, "sha256"].astype("string").fillna("")
        if missing := set(COLUMNS) - set(manifest.columns):
            fault = f"it has no column {sorted(missing)[0]}"
        elif not manifest["verdict"].isin((ACCEPTED, SKIPPED)).all():
            fault = "a verdict is unknown"
        elif not (manifest["split"].isin(SPLITS) == accepted).all() or manifest.loc[~accepted, "split"].notna().any():
            fault = "an accepted image has no split, or a skipped one has one"
        elif manifest.loc[accepted, "row"].isna().any() or len(np.unique(rows)) < len(rows) or (rows < 0).any():
            fault = "an accepted image has no row of its own"
        elif not hashes.str.fullmatch("[0-9a-f]{64}").all():
            fault = "a hash is not a SHA-256"
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        fault = in_short(error)
    if fault:
        raise DataError(
            f"`{name}` must be a manifest ({fault}). Make it again, with the same options: "
            "kedro run --pipelines=ingestion,preprocessing."
        )


def summarise(manifest: pd.DataFrame) -> str:
    """Return one line: `1,797 images scanned · 1,790 accepted · 7 skipped (5 duplicate, 2 empty)`."""
    accepted = int((manifest["verdict"] == ACCEPTED).sum())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in count_reasons(manifest).items())
    line = f"{len(manifest):,} images scanned · {accepted:,} accepted · {len(manifest) - accepted:,} skipped"
    return f"{line} ({reasons})" if reasons else line


def count_reasons(manifest: pd.DataFrame) -> dict[str, int]:
    """Return the number of skipped inputs by reason, the most frequent first."""
    return {str(reason): int(count) for reason, count in manifest["reason"].value_counts().items()}


def labels_of(manifest: pd.DataFrame, rows: np.ndarray) -> list[str] | None:
    """Return the labels of images by row number, or None if one has no label or all have the same."""
    by_row = manifest.loc[manifest["row"].notna() & (manifest["verdict"] == ACCEPTED)].set_index("row")["label"]
    labels = by_row.reindex(rows)
    return None if labels.isna().any() or labels.nunique() < 2 else labels.astype(str).tolist()


def count_near_duplicates(manifest: pd.DataFrame) -> int:
    """Return the number of accepted near-duplicates, which share the split of an earlier image."""
    return int(manifest.loc[manifest["verdict"] == ACCEPTED, "detail"].notna().sum())


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
    return advice


def _mark_repeats(manifest: pd.DataFrame, same: str, what: str, reason: Reason | None) -> None:
    """Of accepted images with equal `same`, name the first in the others' detail; with a `reason`, skip the others."""
    accepted = manifest.loc[manifest["verdict"] == ACCEPTED, ["path", same]]
    # Codes save memory: a million hashes as Python strings take a hundred megabytes.
    codes, _ = pd.factorize(accepted[same])
    _, firsts = np.unique(codes, return_index=True)
    original = firsts[codes]
    again = original != np.arange(len(original))
    rows = accepted.index[again]
    manifest.loc[rows, "detail"] = what + " " + accepted["path"].iloc[original[again]].set_axis(rows).astype("string")
    if reason:
        manifest.loc[rows, "verdict"] = SKIPPED
        manifest.loc[rows, "reason"] = str(reason)


def _bits(sha256: pd.Series, start: int) -> np.ndarray:
    """Return 64 bits of each content hash, starting at hexadecimal digit `start`, as `(N,)` uint64."""
    return np.fromiter((int(digits[start : start + 16], 16) for digits in sha256), np.uint64, len(sha256))
