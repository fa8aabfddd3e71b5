"""The report of a dataset: which files are usable and why others are not, as an HTML page with pictures."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

from kedro_dcgan.data import ACCEPTED, Reason
from kedro_dcgan.data.advice import advise
from kedro_dcgan.data.manifest import SPLITS, NearDuplicates, count_near_duplicates, count_reasons
from kedro_dcgan.data.origin import Origin
from kedro_dcgan.data.transforms import Preparation
from kedro_dcgan.reports.pages import picture_url, render_page

_MOST_LABELS, _EXAMPLES = 30, 3
# How the split of an image is determined, for each `ingestion.near_duplicates.action`.
_SPLIT_RULES: dict[NearDuplicates, str] = {
    "keep": "The split of an image depends on its content alone. It does not change when files are added, renamed or "
    "moved.",
    "group": "The split of an image depends on its content, or on that of a near-duplicate. It does not change when "
    "files are renamed or moved, or others are added, but it may change when a near-duplicate is added or removed.",
    "skip": "The split of an image depends on its content. Only the first near-duplicate by path is used: another one, "
    "in another split, may replace it when near-duplicates are added, removed, renamed or moved.",
}


def draw_sizes(manifest: pd.DataFrame, least: int) -> Figure:
    """Plot a histogram of the shorter sides in pixels, and the minimum for acceptance."""
    sides = manifest[["width", "height"]].min(axis=1)
    known, is_accepted = sides.notna(), manifest["verdict"] == ACCEPTED
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    if known.any():
        values = sides[known].to_numpy(dtype=float)
        # The axis is logarithmic, from icons to posters, and wide enough for labelled ticks even if all have one size.
        bins = np.geomspace(min(values.min(), least) / 2, max(values.max(), least) * 2, 41).tolist()
        groups = [sides[known & chosen].to_numpy(dtype=float) for chosen in (is_accepted, ~is_accepted)]
        axes.hist(groups, bins=bins, stacked=True, color=["tab:green", "tab:red"], label=["accepted", "skipped"])
        axes.set_xscale("log")
        axes.set_xlim(bins[0], bins[-1])
        subs = (1, 2, 5) if bins[-1] > 20 * bins[0] else (1, 1.5, 2, 3, 4, 5, 6, 8)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(least, color="black", linestyle="--", linewidth=1, label=f"minimum: {least}")
    axes.set(xlabel="shorter side, pixels", ylabel="images")
    axes.legend(frameon=False)
    return figure


def write_page(
    manifest: pd.DataFrame,
    source: str,
    origin: Origin,
    preparation: Preparation,
    near_duplicates: NearDuplicates,
    pictures: Mapping[str, Image.Image | Figure],
) -> str:
    """Return a self-contained HTML page; the pictures are `accepted`, `skipped` and `sizes`."""
    # Explain each reason with a few examples.
    reasons = []
    for reason, count in count_reasons(manifest).items():
        examples = manifest.loc[manifest["reason"] == reason, ["path", "detail"]].head(_EXAMPLES).fillna("")
        meaning = Reason(reason).meaning
        reasons.append({"reason": reason, "count": count, "meaning": meaning, "examples": examples.to_dict("records")})

    accepted = manifest["verdict"] == ACCEPTED
    return render_page(
        "dataset.html",
        source=source,
        origin=origin,
        size=preparation.image_size,
        scanned=len(manifest),
        accepted=int(accepted.sum()),
        look_alikes=count_near_duplicates(manifest),
        advice=advise(manifest, preparation.image_size, preparation.channels),
        reasons=reasons,
        splits={split: int((manifest["split"] == split).sum()) for split in SPLITS},
        split_rule=_SPLIT_RULES[near_duplicates],
        labels=_count_labels(manifest, accepted),
        most_labels=_MOST_LABELS,
        formats=manifest.loc[accepted, "format"].value_counts().to_dict(),
        pictures={name: picture_url(picture) for name, picture in pictures.items()},
    )


def _count_labels(manifest: pd.DataFrame, accepted: pd.Series) -> list[dict[Hashable, Any]]:
    """Return the number of images of each label in each split and of its skipped files; nothing without labels."""
    if manifest["label"].isna().all():
        return []
    names = manifest["label"].astype("string").fillna("(none)")
    places = {split: manifest["split"] == split for split in SPLITS} | {"skipped": ~accepted, "accepted": accepted}
    counts = pd.DataFrame(places).fillna(False).astype(int).groupby(names).sum()
    return counts.sort_values(["accepted", "skipped"], ascending=False).reset_index().to_dict("records")
