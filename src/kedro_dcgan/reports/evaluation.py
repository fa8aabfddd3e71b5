"""The page and the table that answer "how good is it?"."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from PIL import Image

from kedro_dcgan.evaluation.protocol import INCEPTION

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("kedro_dcgan.reports", "."), autoescape=True, undefined=jinja2.StrictUndefined
)

# Title, what it means in a sentence, and which way is better.
MEANINGS = {
    "fd": (
        "Fréchet distance, not FID",
        "How far generated images, as a whole, are from real ones. It weighs noise most.",
        "lower",
    ),
    "kd": (
        "Kernel distance, not KID",
        "The same question by another yardstick, fair to few images.",
        "lower",
    ),
    "kd_subsets_mean": (
        "Kernel distance of subsets, not KID",
        "The mean over 100 random subsets of 1,000, as other tools give it: the same, less certain.",
        "lower",
    ),
    "kd_subsets_deviation": ("their deviation", "How much these subsets vary; not an uncertainty of the mean.", ""),
    "precision": ("Precision", "The share of generated images that look like some real one.", "higher"),
    "recall": ("Recall", "The share of real images that look like some generated one.", "higher"),
    "density": ("Density", "How deep among real images a generated one lies; 1 is as deep as they do.", "higher"),
    "coverage": ("Coverage", "The share of real images with a generated one close by.", "higher"),
    "authenticity": (
        "Authenticity",
        "The share of generated images that are no near copies of a training image. Far below real ones: it copies.",
        "higher",
    ),
    "inception_score": (
        "Inception Score",
        "How sure the ImageNet classifier is, and of how many classes. It sees no real image.",
        "higher",
    ),
    "classes_covered": (
        "Classes covered",
        "How many classes are made at least a tenth as often as they are real.",
        "higher",
    ),
    "class_divergence": ("Class divergence", "How far the mixture of classes is off, in bits: 0 to 1.", "lower"),
}
_ON_INCEPTION = {"fd": "FID", "kd": "KID", "kd_subsets_mean": "KID of subsets"}
NO_FID = (
    "FID is absent, because Inception's network or its weights are. Get them with `pip install torch-fidelity` and "
    "`kedro dcgan fetch-weights`, and evaluate again."
)

NO_FID_IN_BFLOAT16 = "FID is absent, because it is measured in float32 only."


def write_page(evaluation: Mapping[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    """Return a self-contained HTML page: the numbers, their meaning, pictures (`samples`, `neighbours`, `extremes`)."""
    return _PAGES.get_template("evaluation.html").render(
        verdict=evaluation["verdict"],
        title=evaluation["title"],
        splits={split: _rows(evaluation, split) for split in ("test", "train")},
        classes=evaluation["classes"],
        notes=notes(evaluation),
        protocols=evaluation["protocols"],
        libraries=evaluation["libraries"],
        generator=evaluation["generator"],
        images_seen=evaluation["images_seen"],
        pictures={name: _as_data_url(picture) for name, picture in pictures.items()},
    )


def write_table(evaluation: Mapping[str, Any]) -> str:
    """Return the numbers as Markdown: a table, and what is to be known about it."""
    lines = [
        *([f"**{evaluation['verdict']}**", ""] if "verdict" in evaluation else []),
        "| number | value | 95 % interval | real images | better |",
        "|---|---:|---|---:|---|",
    ]
    for split in dict.fromkeys(number["split"] for number in evaluation["numbers"]):
        lines += [
            f"| `{row['name']}` | {row['value']} | {row['interval']} | {row['floor']} | {row['better']} |"
            for row in _rows(evaluation, split)
        ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(evaluation))]) + "\n"


def notes(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what must be known about the numbers."""
    protocols = evaluation["protocols"]
    said = [f"{evaluation['title']}."]
    said += [
        f"{protocol[side]:,} {side} images are not more than the {protocol['dimension']:,} dimensions of "
        f"`{protocol['extractor']}`: the distance is well above what more images would give."
        for protocol in protocols
        for side in ("generated", "real")
        if protocol[side] <= protocol["dimension"] and protocol["split"] != "train"
    ]
    said += _notes_on_files(evaluation)
    extractors = {protocol["extractor"] for protocol in protocols}
    if INCEPTION not in extractors:
        said.append(NO_FID_IN_BFLOAT16 if any(name.startswith(INCEPTION) for name in extractors) else NO_FID)
    return said


def _notes_on_files(evaluation: Mapping[str, Any]) -> list[str]:
    # Of an evaluation of files, which may be damaged, and of any size.
    skipped, sizes = evaluation.get("skipped", {}), evaluation.get("sizes", {})
    said = [f"{n:,} of the {side} files were left out: they could not be read." for side, n in skipped.items() if n]
    if len({tuple(of_side) for of_side in sizes.values()}) > 1:
        listed = "; ".join(f"{side} {_few(of_side)}" for side, of_side in sizes.items())
        said.append(f"The images are of different sizes ({listed}): resizing them is a part of the numbers.")
    return said


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], *(["…"] if len(names) > 3 else [])])


def _rows(evaluation: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
    rows = []
    extractors = {protocol["name"]: protocol["extractor"] for protocol in evaluation["protocols"]}
    for number in evaluation["numbers"]:
        if number["split"] != split:
            continue
        title, meaning, better = MEANINGS[number["metric"]]
        is_inception = extractors[number["protocol"]] == INCEPTION
        low, high = (short(number[end]) for end in ("low", "high"))
        rows.append(
            {
                "name": number["name"],
                "title": _ON_INCEPTION.get(number["metric"], title) if is_inception else title,
                "meaning": meaning,
                "better": better,
                "value": short(number["value"]),
                "interval": f"{low} to {high}" if low else "",
                "floor": short(number["floor"]),
            }
        )
    return rows


def short(value: float | None) -> str:
    """Return a number with three digits or so; nothing for nothing."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = ".1f" if abs(value) >= 20 else ".3f" if abs(value) >= 0.01 else ".2g"
    return f"{value:{digits}}"


def _as_data_url(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
