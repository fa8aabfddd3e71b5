"""The manifest: one row for each input, with its content hash, its verdict and its split.

It is the identity of the dataset. A split depends on content alone, that of the image or of a near-duplicate, so it
does not change when files are renamed or reordered, or unrelated ones are added.
"""

from itertools import takewhile
from typing import Literal

import numpy as np
import pandas as pd

from kedro_dcgan.data import ACCEPTED, SKIPPED, Reason
from kedro_dcgan.data.duplicates import group_near_duplicates
from kedro_dcgan.errors import DataError, in_short

SPLITS = ("train", "validation", "test")
# The columns and what they hold.
COLUMNS = {
    "path": r"Path relative to the source, with `/`; invalid UTF-8 bytes as `\xe9`, a backslash as `\\`.",
    "sha256": "SHA-256 of the content of the file.",
    "bytes": "Size of the file.",
    "format": "Format, from the content, such as `JPEG`; null if the file could not be read.",
    "width": "Width of the upright image, in pixels.",
    "height": "Height of the upright image, in pixels.",
    "mode": "Mode of the pixels as they are stored, such as `RGB` or `L`.",
    "label": "Label of the image, or null.",
    "box": "Bounding box of the crop, `left,top,right,bottom` in pixels of the upright image; null without boxes.",
    "verdict": "`accepted` or `skipped`.",
    "reason": "Why the input was skipped; null for an accepted one.",
    "detail": "Details of the reason; for an accepted image with near-duplicates, the first of these by path.",
    "split": "`train`, `validation` or `test`; null for a skipped input.",
    "row": "Index of its pixels, counted over all shards; duplicates also have one.",
}
_SPLIT_FOLDERS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "dev"))
NearDuplicates = Literal["keep", "group", "skip"]
SplitFolders = Literal["auto", "first", "none"]


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
    records: pd.DataFrame,
    train: float,
    validation: float,
    near_duplicates: NearDuplicates = "keep",
    most_bits: int = 0,
    split_folders: SplitFolders = "auto",
) -> pd.DataFrame:
    """Sort the records by path, skip exact duplicates of an earlier one, and assign splits to the others.

    `records` has the columns of `ImageRecord`. Near-duplicates, whose perceptual hashes differ in at most `most_bits`,
    are all kept (`keep`), all kept in one split (`group`; `detail` names the first of them), or skipped except for
    the first by path (`skip`). Labels lose the folders that are splits (`ingestion.split_folders`) and those that all
    classes share.
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
    labels = _without_splits(manifest["label"], accepted, split_folders)
    if split_folders != "none":
        labels = _without_shared_folders(labels, accepted)
    # A folder for each image is no class: no classifier could learn it.
    counts = labels[accepted].value_counts()
    is_alone = 2 * (counts == 1).sum() > len(counts)
    manifest["label"] = pd.Series(None, index=labels.index, dtype=labels.dtype) if is_alone else labels
    return manifest[list(COLUMNS)]


def _without_splits(labels: pd.Series, accepted: pd.Series, split_folders: SplitFolders) -> pd.Series:
    """Return the labels without folders for splits."""
    names = [label.split("/") for label in labels[accepted].dropna().unique()]
    depth = 0 if split_folders == "first" else None
    if split_folders == "auto" and names:
        # Images of all splits are in `train/cat` and `test/cat`, in `data/train/cat`, or in `cat/train`.
        depths = (*range(min(map(len, names))), -1)
        depth = next((at for at in depths if all(name[at].lower() in _SPLIT_FOLDERS for name in names)), None)
    if depth is not None:
        classes = dict[str, str | None]()
        for label in labels.dropna().unique():
            folders = label.split("/")
            if len(folders) > depth and (split_folders == "first" or folders[depth].lower() in _SPLIT_FOLDERS):
                del folders[depth]
            classes[label] = "/".join(folders) or None
        labels = labels.map(classes).astype(labels.dtype)
    return labels


def _without_shared_folders(labels: pd.Series, accepted: pd.Series) -> pd.Series:
    """Remove the leading folders that all labels share: `pets/cat` and `pets/dog` become `cat` and `dog`."""
    folders = [label.split("/")[:-1] for label in labels[accepted].dropna().unique()]
    levels = takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False))
    shared = "".join(f"{level[0]}/" for level in levels)
    names = {label: label.removeprefix(shared) for label in labels.dropna().unique()}
    return labels.map(names).astype(labels.dtype) if shared else labels


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


def count_near_duplicates(manifest: pd.DataFrame) -> int:
    """Return the number of accepted near-duplicates, which share the split of an earlier image."""
    return int(manifest.loc[manifest["verdict"] == ACCEPTED, "detail"].notna().sum())


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
