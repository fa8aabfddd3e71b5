"""The report of an evaluation, as an HTML page and as a Markdown table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image

from kedro_dcgan.evaluation.protocol import INCEPTION, PIXELS
from kedro_dcgan.reports.pages import picture_url, render_page


class MetricText(NamedTuple):
    """The title of a metric, its meaning in a sentence, its range and its source.

    better: `higher`, `lower` or neither.
    """

    title: str
    meaning: str
    better: str
    range: str
    paper: str


METRICS = {
    "fd": MetricText(
        "Fréchet distance, not FID",
        "Distance between the feature distributions of generated and real images; most sensitive to noise.",
        "lower",
        "0 and above",
        "Dowson and Landau 1982; FID: Heusel et al. 2017",
    ),
    "kd": MetricText(
        "Kernel distance, not KID",
        "Maximum mean discrepancy between the features of generated and real images; unbiased for few images.",
        "lower",
        "about 0 and above",
        "Bińkowski et al. 2018",
    ),
    "kd_subsets_mean": MetricText(
        "Kernel distance of subsets, not KID",
        "Mean over 100 random subsets of 1,000 images, as other tools report it; less certain than the one above.",
        "lower",
        "about 0 and above",
        "Bińkowski et al. 2018",
    ),
    "kd_subsets_deviation": MetricText(
        "Standard deviation of the subsets",
        "Spread between the subsets; not the uncertainty of the mean.",
        "",
        "0 and above",
        "Bińkowski et al. 2018",
    ),
    "precision": MetricText(
        "Precision",
        "Share of generated images within the manifold of real images.",
        "higher",
        "0 to 1",
        "Kynkäänniemi et al. 2019",
    ),
    "recall": MetricText(
        "Recall",
        "Share of real images within the manifold of generated images.",
        "higher",
        "0 to 1",
        "Kynkäänniemi et al. 2019",
    ),
    "density": MetricText(
        "Density",
        "Precision that is robust to outliers: real neighbourhoods per generated image; 1 if real.",
        "higher",
        "0 and above",
        "Naeem et al. 2020",
    ),
    "coverage": MetricText(
        "Coverage",
        "Share of real images with a generated image in their neighbourhood.",
        "higher",
        "0 to 1",
        "Naeem et al. 2020",
    ),
    "authenticity": MetricText(
        "Authenticity",
        "Share of generated images that are not closer to a training image than its nearest other training image.",
        "higher",
        "0 to 1",
        "Alaa et al. 2022",
    ),
    "near_copies": MetricText(
        "Near-copies",
        "Share of generated images that are less than 0.4 times as far from one training image as from the 50 nearest "
        "on average. Far above that of real images: the generator copies.",
        "lower",
        "0 to 1",
        "after Carlini et al. 2023",
    ),
    "inception_score": MetricText(
        "Inception Score",
        "Confidence and diversity of the predictions of an ImageNet classifier; independent of the real images.",
        "higher",
        "1 and above",
        "Salimans et al. 2016",
    ),
    "classes_covered": MetricText(
        "Classes covered",
        "Classes generated at least a tenth as often as they occur in real images.",
        "higher",
        "0 to the number of classes",
        "",
    ),
    "class_agreement": MetricText(
        "Class agreement",
        "Share of images that a classifier of real images assigns to the class they were requested for.",
        "higher",
        "0 to 1",
        "",
    ),
    "class_accuracy_score": MetricText(
        "Classification accuracy score",
        "Accuracy on real test images of a classifier that is trained on generated images; or on as many real ones.",
        "higher",
        "0 to 1",
        "Ravuri and Vinyals 2019",
    ),
    "class_fd": MetricText(
        "Fréchet distance within classes",
        "Mean over the classes that have enough test images.",
        "lower",
        "0 and above",
        "Dowson and Landau 1982",
    ),
    "class_diversity": MetricText(
        "Diversity within classes",
        "Spread of generated images of a class relative to that of training images, a mean over classes; 1 if equal.",
        "higher",
        "0 and above",
        "",
    ),
    "class_divergence": MetricText(
        "Class divergence",
        "Jensen-Shannon divergence of generated and real class histograms.",
        "lower",
        "0 to 1 bit",
        "Lin 1991",
    ),
}
_INCEPTION_TITLES = {"fd": "FID", "kd": "KID", "kd_subsets_mean": "KID of subsets"}
_NO_FID = (
    "FID is absent, because the network or the weights of Inception are not installed. Run `pip install "
    "torch-fidelity` and `kedro dcgan fetch-weights`, and evaluate again."
)
_NO_FID_IN_BFLOAT16 = "FID is absent, because it is defined in float32 only."


def write_page(evaluation: Mapping[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    """Return a self-contained HTML page; the pictures are `samples`, `neighbours` and `extremes`."""
    copied = (
        "verdict", "training", "advice", "classes", "by_class", "protocols", "libraries", "generator", "images_seen",
    )  # fmt: skip
    return render_page(
        "evaluation.html",
        **{name: evaluation.get(name) for name in copied},
        splits={split: metric_rows(evaluation, split) for split in ("test", "train")},
        notes=_notes(evaluation),
        pictures={name: picture_url(picture) for name, picture in pictures.items()},
    )


def write_table(evaluation: Mapping[str, Any]) -> str:
    """Return the metrics as a Markdown table, with notes."""
    lines = [
        *([f"**{evaluation['verdict']}**", ""] if "verdict" in evaluation else []),
        *([f"Advice: {evaluation['advice']}.", ""] if "advice" in evaluation else []),
        "| metric | value | 95 % interval | real images | better |",
        "|---|---:|---|---:|---|",
    ]
    for split in dict.fromkeys(number["split"] for number in evaluation["numbers"]):
        lines += [
            f"| `{row['name']}` | {row['value']} | {row['interval']} | {row['floor']} | {row['better']} |"
            for row in metric_rows(evaluation, split)
        ]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(evaluation))]) + "\n"


def _notes(evaluation: Mapping[str, Any]) -> list[str]:
    """Return the title and the limitations of the metrics, as sentences."""
    protocols, sentences = evaluation["protocols"], [f"{evaluation['title']}."]
    sentences += [
        f"{protocol[side]:,} {side} images are not more than the {protocol['dimension']:,} dimensions of "
        f"`{protocol['extractor']}`: with more images the distance would be much lower."
        for protocol in protocols
        for side in ("generated", "real")
        if protocol[side] <= protocol["dimension"] and protocol["split"] != "train"
    ]
    skipped = evaluation.get("skipped", {})
    sentences += [f"{count:,} unreadable {side} files were skipped." for side, count in skipped.items() if count]
    sizes = evaluation.get("sizes", {})
    if len({tuple(of_side) for of_side in sizes.values()}) > 1:
        three = {side: of_side[:3] + ["…"] * (len(of_side) > 3) for side, of_side in sizes.items()}
        listed = "; ".join(f"{side} {', '.join(shown)}" for side, shown in three.items())
        sentences.append(f"The sizes of the images differ ({listed}): resizing affects the metrics.")
    extractors = {protocol["extractor"] for protocol in protocols}
    if INCEPTION not in extractors:
        sentences.append(_NO_FID_IN_BFLOAT16 if any(name.startswith(INCEPTION) for name in extractors) else _NO_FID)
    return sentences


def metric_rows(evaluation: Mapping[str, Any], split: str) -> list[dict[str, str]]:
    """Return the metrics of a split as text: name, title, meaning, better, value, interval and floor."""
    extractors = {protocol["name"]: protocol["extractor"] for protocol in evaluation["protocols"]}
    rows = []
    for number in evaluation["numbers"]:
        if number["split"] == split:
            text, low, high = METRICS[number["metric"]], short(number["low"]), short(number["high"])
            if extractors[number["protocol"]] == PIXELS:
                text = text._replace(title=f"{text.title} in pixels")
            if extractors[number["protocol"]] == INCEPTION:
                text = text._replace(title=_INCEPTION_TITLES.get(number["metric"], text.title))
            interval = f"{low} to {high}" if low else ""
            values = {"value": short(number["value"]), "interval": interval, "floor": short(number["floor"])}
            rows.append({"name": number["name"], **text._asdict(), **values})
    return rows


def short(value: float | None) -> str:
    """Return a number with about three digits; nothing for None."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = ".1f" if abs(value) >= 20 else ".3f" if abs(value) >= 0.01 else ".2g"
    return f"{value:{digits}}"
