"""The manifest: one row for each input, with its content hash, its verdict and its split.

It is the dataset's identity. The split depends on nothing but content, the image's own or that of one
that looks like it, so it does not move when files are renamed, listed in another order, or others added.
"""

from typing import Literal

import numpy as np
import pandas as pd

from kedro_dcgan.data.duplicates import group_alike
from kedro_dcgan.data.verdicts import ACCEPTED, SKIPPED, Reason

SPLITS = ("train", "validation", "test")
COLUMNS = (
    "path",
    "sha256",
    "bytes",
    "format",
    "width",
    "height",
    "mode",
    "label",
    "box",
    "verdict",
    "reason",
    "detail",
    "split",
    "row",
)
_LOOKS_LIKE = "looks like"
# A larger group than that of the images makes splits of other sizes than were asked for.
_LARGE_GROUP = 0.05
NearDuplicates = Literal["keep", "group", "skip"]


def split_of(sha256: pd.Series, train: float, validation: float, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the splits of content hashes: the first 64 bits of each, read as a fraction of 1, fall into one share.

    If `groups`, `(N,)`, numbers the group of each, one member decides for its group.
    """
    bits = _bits(sha256, 0)
    if groups is not None:
        # It is chosen by the end of its hash: the beginning decides the split, and the least of several
        # would fall into the first one too often.
        bits = bits[_least_of_group(groups, _bits(sha256, 32))]
    places = np.searchsorted([train, train + validation], bits.astype(np.float64) / 2**64, side="right")
    return np.array(SPLITS, dtype=object)[places]


def complete_manifest(
    records: pd.DataFrame,
    train: float,
    validation: float,
    near_duplicates: NearDuplicates = "keep",
    most_bits: int = 0,
) -> pd.DataFrame:
    """Sort the records by path, skip exact duplicates of an earlier one, and give the others their split.

    `records` has the columns of `ImageRecord`. Of pictures that look alike (their perceptual hashes
    differ in at most `most_bits`) all are kept (`keep`), all are kept in one split (`group`; `detail`
    says like which they look), or the first by path is (`skip`).
    """
    manifest = records.sort_values("path", ignore_index=True, key=lambda path: path.astype("string[pyarrow]"))
    manifest["split"] = pd.Series(pd.NA, index=manifest.index, dtype="string")
    _skip_all_but_first(manifest, "sha256", Reason.DUPLICATE, "the same bytes as")
    if near_duplicates != "keep":
        accepted = manifest["verdict"] == ACCEPTED
        hashes = manifest.loc[accepted, "perceptual_hash"].to_numpy(dtype=np.uint64)
        manifest.loc[accepted, "alike"] = group_alike(hashes, most_bits)
        if near_duplicates == "skip":
            _skip_all_but_first(manifest, "alike", Reason.NEAR_DUPLICATE, _LOOKS_LIKE)
        else:
            rows, originals = _all_but_first(manifest, "alike")
            manifest.loc[rows, "detail"] = _LOOKS_LIKE + " " + originals
    accepted = manifest["verdict"] == ACCEPTED
    groups = manifest.loc[accepted, "alike"].to_numpy() if near_duplicates == "group" else None
    manifest.loc[accepted, "split"] = split_of(manifest.loc[accepted, "sha256"], train, validation, groups)
    return manifest[list(COLUMNS)]


def summarise(manifest: pd.DataFrame) -> str:
    """Return one line: `1,797 images scanned · 1,790 accepted · 7 skipped (5 duplicate, 2 empty)`."""
    accepted = int((manifest["verdict"] == ACCEPTED).sum())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in count_reasons(manifest).items())
    line = f"{len(manifest):,} images scanned · {accepted:,} accepted · {len(manifest) - accepted:,} skipped"
    return f"{line} ({reasons})" if reasons else line


def count_reasons(manifest: pd.DataFrame) -> dict[str, int]:
    """Return how many inputs were skipped for each reason, the most frequent first."""
    return {str(reason): int(count) for reason, count in manifest["reason"].value_counts().items()}


def labels_of(manifest: pd.DataFrame, rows: np.ndarray) -> list[str] | None:
    """Return the labels of images by row number; nothing if one of them has none, or all have the same."""
    by_row = manifest.loc[manifest["row"].notna() & (manifest["verdict"] == ACCEPTED)].set_index("row")["label"]
    labels = by_row.reindex(rows)
    return None if labels.isna().any() or labels.nunique() < 2 else labels.astype(str).tolist()


def count_look_alikes(manifest: pd.DataFrame) -> int:
    """Return how many accepted images look like another one and share its split."""
    return int(manifest.loc[manifest["verdict"] == ACCEPTED, "detail"].notna().sum())


def advise(manifest: pd.DataFrame, image_size: int) -> list[str]:
    """Return a sentence on each thing that a person would want to change, once they know of it."""
    all_advice = (
        _advise_on_sizes(manifest, image_size),
        _advise_on_enlarged(manifest, image_size),
        _advise_on_look_alikes(manifest),
    )
    return [advice for advice in all_advice if advice]


def _advise_on_sizes(manifest: pd.DataFrame, image_size: int) -> str | None:
    small = manifest[manifest["reason"] == Reason.TOO_SMALL]
    accepted = int((manifest["verdict"] == ACCEPTED).sum())
    if len(small) < 0.05 * max(1, accepted + len(small)):
        return None
    sides = small[["width", "height"]].min(axis=1).to_numpy(dtype=float)
    # The largest of the usual sizes at which most of them would do.
    sizes = [size for size in (16, 24, 32, 48, 64, 96, 128, 192, 256) if size < image_size]
    usable = [size for size in sizes if (sides >= size).mean() >= 0.5]
    start = f"{accepted:,} of {accepted + len(small):,} images are large enough for {image_size}x{image_size}"
    other = f", or choose {usable[-1]}x{usable[-1]}" if usable else ""
    return f"{start}; give a smaller `ingestion.min_size` to enlarge the others{other}."


def _advise_on_enlarged(manifest: pd.DataFrame, image_size: int) -> str | None:
    accepted = manifest.loc[(manifest["verdict"] == ACCEPTED) & manifest["box"].isna(), ["width", "height"]]
    enlarged = int(((accepted["width"] < image_size) | (accepted["height"] < image_size)).sum())
    # All of them: that was meant so.
    if enlarged in (0, len(accepted)):
        return None
    return (
        f"{enlarged:,} of {len(accepted):,} images are smaller than {image_size}x{image_size} and were enlarged or "
        "padded: set `ingestion.min_size` to null to leave such images out."
    )


def _advise_on_look_alikes(manifest: pd.DataFrame) -> str | None:
    accepted = manifest.loc[manifest["verdict"] == ACCEPTED, "detail"]
    groups = accepted.value_counts()
    largest = int(groups.iloc[0]) + 1 if len(groups) else 0
    if largest <= _LARGE_GROUP * len(accepted):
        return None
    return (
        f"{largest:,} of {len(accepted):,} images look alike, one like the other, and are in one split: "
        "lower `ingestion.near_duplicates.most_bits`, or set `ingestion.near_duplicates.action` to keep."
    )


def _skip_all_but_first(manifest: pd.DataFrame, same: str, reason: Reason, what: str) -> None:
    rows, originals = _all_but_first(manifest, same)
    manifest.loc[rows, "verdict"] = SKIPPED
    manifest.loc[rows, "reason"] = str(reason)
    manifest.loc[rows, "detail"] = what + " " + originals


def _all_but_first(manifest: pd.DataFrame, same: str) -> tuple[pd.Index, pd.Series]:
    """Return which accepted images equal an earlier one in the column `same`, and the path of the first of those."""
    accepted = manifest.loc[manifest["verdict"] == ACCEPTED, ["path", same]]
    # As numbers: a million hashes as Python's strings would take a hundred megabytes.
    codes, _ = pd.factorize(accepted[same])
    _, firsts = np.unique(codes, return_index=True)
    original = firsts[codes]
    again = original != np.arange(len(original))
    rows = accepted.index[again]
    return rows, accepted["path"].iloc[original[again]].set_axis(rows).astype("string")


def _bits(sha256: pd.Series, start: int) -> np.ndarray:
    """Return 64 bits of each content hash, from the hexadecimal digit `start` on, as `(N,)` uint64."""
    return np.fromiter((int(digits[start : start + 16], 16) for digits in sha256), np.uint64, len(sha256))


def _least_of_group(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return, for each member, the place of the one of its group with the least value."""
    order = np.lexsort((values, groups))
    begins = np.diff(groups[order], prepend=np.nan) != 0
    least = np.empty(len(groups), dtype=int)
    least[order] = order[begins][np.cumsum(begins) - 1]
    return least
