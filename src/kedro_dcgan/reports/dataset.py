"""The page that answers "what did it do with my files?"."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from kedro_dcgan.data.manifest import SPLITS, NearDuplicates, advise, count_look_alikes, count_reasons
from kedro_dcgan.data.verdicts import ACCEPTED, meaning_of

# File names are anyone's: whatever is put into the page is escaped.
_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("kedro_dcgan.reports", "."), autoescape=True, undefined=jinja2.StrictUndefined
)
_MOST_LABELS, _EXAMPLES = 30, 3
_WITHOUT_LABEL = "(none: not in a folder)"
# How far an image's split is its own, for each thing that may become of pictures that look alike.
_WHAT_DECIDES_THE_SPLIT: dict[NearDuplicates, str] = {
    "keep": "Which image is in which split follows from its content alone: it stays when files are added, renamed or "
    "moved.",
    "group": "Which image is in which split follows from its content, or from that of a picture that looks like it: "
    "it stays when files are renamed or moved, and when others are added, but it may change when a look-alike is added "
    "or removed.",
    "skip": "Which image is in which split follows from its content. Of pictures that look alike the first by path is "
    "kept: another may take its place, and be in another split, when look-alikes are added, removed, renamed or moved.",
}


def draw_sizes(manifest: pd.DataFrame, least: int) -> Figure:
    """Draw how many images have which shorter side, and the least that is accepted, in pixels."""
    sides = manifest[["width", "height"]].min(axis=1)
    known = sides.notna()
    accepted = (manifest["verdict"] == ACCEPTED) & known
    skipped = (manifest["verdict"] != ACCEPTED) & known
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    if known.any():
        values = sides[known].to_numpy(dtype=float)
        # Equal steps on a logarithmic axis: collections range from icons to posters.
        bins = np.geomspace(max(1, values.min() * 0.9), values.max() * 1.1, 41).tolist()
        groups = [sides[accepted].to_numpy(dtype=float), sides[skipped].to_numpy(dtype=float)]
        axes.hist(groups, bins=bins, stacked=True, color=["tab:green", "tab:red"], label=["accepted", "skipped"])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "25" else "")
    axes.axvline(least, color="black", linestyle="--", linewidth=1, label=f"least: {least}")
    axes.set(xlabel="shorter side, pixels", ylabel="images")
    axes.legend(frameon=False)
    return figure


def write_page(
    manifest: pd.DataFrame,
    source: str,
    image_size: int,
    near_duplicates: NearDuplicates,
    pictures: Mapping[str, Image.Image | Figure],
) -> str:
    """Return a self-contained HTML page: counts by reason, label and split, the contact sheets and the sizes.

    `near_duplicates` is what became of pictures that look alike; `pictures` are `accepted`, `skipped` and `sizes`.
    """
    accepted = manifest["verdict"] == ACCEPTED
    return _PAGES.get_template("dataset.html").render(
        source=source,
        size=image_size,
        scanned=len(manifest),
        accepted=int(accepted.sum()),
        look_alikes=count_look_alikes(manifest),
        advice=advise(manifest, image_size),
        reasons=_reasons(manifest),
        splits={split: int((manifest["split"] == split).sum()) for split in SPLITS},
        what_decides_the_split=_WHAT_DECIDES_THE_SPLIT[near_duplicates],
        labels=_labels(manifest),
        most_labels=_MOST_LABELS,
        formats=manifest.loc[accepted, "format"].value_counts().to_dict(),
        pictures={name: _as_data_url(picture) for name, picture in pictures.items()},
    )


def _reasons(manifest: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "reason": reason,
            "count": count,
            "meaning": meaning_of(reason),
            "examples": manifest.loc[manifest["reason"] == reason, ["path", "detail"]]
            .head(_EXAMPLES)
            .fillna("")
            .to_dict("records"),
        }
        for reason, count in count_reasons(manifest).items()
    ]


def _labels(manifest: pd.DataFrame) -> list[dict[str, Any]]:
    if not manifest["label"].notna().any():
        return []
    labels = manifest["label"].astype("string").fillna(_WITHOUT_LABEL)
    accepted = (manifest["verdict"] == ACCEPTED).groupby(labels).agg(["sum", "count"])
    ordered = accepted.sort_values(["sum", "count"], ascending=False)
    return [
        {"label": label, "accepted": int(row["sum"]), "skipped": int(row["count"] - row["sum"])}
        for label, row in ordered.iterrows()
    ]


def _as_data_url(picture: Image.Image | Figure) -> str:
    stream = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(stream, format="png", dpi=110)
    else:
        picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
