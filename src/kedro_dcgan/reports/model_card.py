"""The model card of an evaluated generator: the `README.md` beside its weights, in the format of Hugging Face.

A card starts with YAML, which the Hub and other programs read. Then it tells people what the generator is, how good it
is and by which protocol, what it was trained on, how to use it, and its limits. All facts are those of the
`TrainedGenerator`. Names of datasets and classes come from files, so they are escaped, become no links, and long ones
are cut.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from kedro_dcgan import __version__
from kedro_dcgan.evaluation.protocol import PIXELS
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.saved import CONFIG, WEIGHTS, TrainedGenerator
from kedro_dcgan.reports.evaluation import metric_rows
from kedro_dcgan.reports.markdown import TEXT, code, escape, link, plain, table

CARD = "README.md"
# MLflow's limit for the description of a version.
MOST_DESCRIPTION = 5000
_TASK, _UNKNOWN, _MOST_CLASSES = "unconditional-image-generation", "unknown", 30
_NO_COPIES = "None found: its share of near-copies of training images is not clearly above that of real images."
_COLUMNS = "value", "interval", "floor", "better", "title"
_LOADING = f"""\
With this project (`{CONFIG}` and `{WEIGHTS}`):

```python
from pathlib import Path

from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.saved import read_generator

trained = read_generator(Path("."))  # the folder of this card
images = generate_all(trained.build(), sample_inputs(16, trained.config, seed=0))  # uint8 (N, C, H, W)
```"""
_MARKS = """\
kedro-dcgan marks the PNG files that it writes or serves as made by a trained model: XMP metadata with IPTC's
`DigitalSourceType` `trainedAlgorithmicMedia`, the generator, the seed and the number of the image. `kedro dcgan inspect
FILE.png` reads the mark. Metadata are easily removed, and images from the weights or the ONNX model have none."""
_LIMITS = (
    "It generates images like its training images, at this size only, and repeats their biases and gaps.",
    "It has no filter: do not take its images for photographs of real things, people or events.",
    "Compare its metrics only with those of the same protocol and the same images.",
    "The test for copies finds near-copies among the samples that it draws. It cannot prove that there are none.",
)


def has_card(trained: TrainedGenerator) -> bool:
    """Return whether a generator has what a card needs: it is evaluated."""
    return bool(trained.facts.get("numbers") and trained.facts.get("protocols"))


def write_model_card(trained: TrainedGenerator) -> str:
    """Return the card of an evaluated generator: YAML front matter and Markdown."""
    front = yaml.safe_dump(_front_matter(trained), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{front}---\n\n" + "\n\n".join(_sections(trained)) + "\n"


def describe_generator(trained: TrainedGenerator) -> str:
    """Return the Markdown of the card: as many of its sections as fit into the description of a registered version."""
    text, rest = "", f"\n\nThe whole card is `generator/{CARD}` among the artifacts."
    for section in _sections(trained):
        longer = f"{text}\n\n{section}".lstrip()
        if len(longer) + len(rest) > MOST_DESCRIPTION:
            # A dataset with very many classes can have a long verdict.
            return (text or longer[: MOST_DESCRIPTION - len(rest)]) + rest
        text = longer
    return text


def _front_matter(trained: TrainedGenerator) -> dict[str, Any]:
    facts, dataset = trained.facts, plain(trained.facts.get("dataset") or _UNKNOWN)
    numbers = [number for number in facts["numbers"] if number["split"] == "test"]
    results = {
        "task": {"type": _TASK},
        "dataset": {
            "name": dataset,
            "type": _identifier(dataset),
            "split": "test",
            "args": {"digest": trained.dataset_digest},
        },
        "metrics": [
            {"type": number["metric"], "name": number["name"], "value": number["value"]}
            | ({} if number["low"] is None else {"args": {"low": number["low"], "high": number["high"]}})
            for number in numbers
        ],
    }
    return {
        "library_name": "pytorch",
        "pipeline_tag": _TASK,
        "tags": ["dcgan", "gan", *(["class-conditional"] if trained.config.classes else []), "kedro-dcgan", "onnx"],
        "metrics": list(dict.fromkeys(number["metric"] for number in numbers)),
        "model-index": [{"name": f"DCGAN of {dataset}", "results": [results]}],
    }


def _sections(trained: TrainedGenerator) -> list[str]:
    limits = "\n".join(f"- {limit}" for limit in _LIMITS)
    return [
        _introduction(trained),
        f"## Evaluation\n\n{_evaluation(trained.facts)}",
        f"## Training data\n\n{_training_data(trained)}",
        f"## Training\n\n{_training(trained)}",
        f"## How to use it\n\n{_LOADING}\n\n{_onnx_example(trained)}",
        f"## Limits\n\n{limits}",
        f"## Marks of its images\n\n{_MARKS}",
    ]


def _introduction(trained: TrainedGenerator) -> str:
    config, facts = trained.config, trained.facts
    colours, size = "grey" if config.channels == 1 else "colour", config.image_size
    lines = [
        f"# DCGAN of {escape(facts.get('dataset') or _UNKNOWN)}",
        *([f"> **{COPIES_NOTICE}**"] if facts.get("copies") else []),
        f"A generator of {colours} images of {size} × {size} pixels, trained from scratch as a DCGAN "
        "([Radford et al. 2015](https://arxiv.org/abs/1511.06434)).",
    ]
    if config.classes:
        shown, more = map(escape, config.classes[:_MOST_CLASSES]), len(config.classes) - _MOST_CLASSES
        others = f" and {more:,} others" if more > 0 else ""
        lines.append(f"Images can be requested by class: {', '.join(shown)}{others}.")
    rows = [
        ("network", f"{config.architecture}, width {config.width}, {config.latent_dim} latents ({config.latents})"),
        ("weights", f"`{trained.fingerprint()}` (fingerprint)"),
        ("card written by", f"kedro-dcgan {__version__}"),
        ("licence", "not chosen: whoever publishes the weights adds `license` to this card"),
    ]
    return "\n\n".join([*lines, table(rows)])


def _evaluation(facts: Mapping[str, Any]) -> str:
    is_tested = "copies" in facts and any(number["metric"] == "near_copies" for number in facts["numbers"])
    copies = COPIES_NOTICE if facts.get("copies") else _NO_COPIES if is_tested else "Not tested."
    verdicts = [
        ("verdict", f"**{escape(facts.get('quality') or _UNKNOWN, TEXT)}**"),
        ("copies", copies),
    ]
    if advice := facts.get("advice"):
        verdicts.append(("advice", escape(advice, TEXT)))
    lines = ["| metric | value | 95 % interval | real images | better | |", "|---|---:|---|---:|---|---|"]
    for split in dict.fromkeys(number["split"] for number in facts["numbers"]):
        lines += [
            f"| {code(row['name'])} | {' | '.join(row[column] for column in _COLUMNS)} |"
            for row in metric_rows(facts, split)
        ]
    note = "`real images` is the same metric of as many real images, which are of another split."
    protocols = "\n".join(f"- {_protocol(protocol)}" for protocol in facts["protocols"])
    return "\n\n".join([table(verdicts), "\n".join(lines), f"{note} Protocols:", protocols])


def _protocol(protocol: Mapping[str, Any]) -> str:
    features = f"features of {code(protocol['extractor'])} ({protocol['dimension']:,} dimensions"
    if protocol["extractor"] == PIXELS:
        features = f"pixels ({protocol['dimension']:,} dimensions"
    elif protocol["weights_sha256"]:
        features += f", weights {code(protocol['weights_sha256'][:12])}"
    return (
        f"{code(protocol['name'])}: {protocol['generated']:,} generated images (seed {protocol['seed']}) and "
        f"{protocol['real']:,} real images of the {protocol['split']} split; {features}, {protocol['precision']}), "
        f"images {escape(protocol['resize'])}."
    )


def _training_data(trained: TrainedGenerator) -> str:
    facts = trained.facts
    rows = [
        ("source", escape(facts.get("dataset") or _UNKNOWN)),
        ("licence", link(facts.get("data_licence") or _UNKNOWN)),
        ("address", link(facts.get("data_url") or _UNKNOWN)),
        ("digest", code(trained.dataset_digest)),
    ]
    if trained.config.classes:
        rows.append(("classes", f"{len(trained.config.classes):,}"))
    return table(rows)


def _training(trained: TrainedGenerator) -> str:
    facts = trained.facts
    seen, trained_images = trained.images_seen / 1000, facts.get("trained_images", trained.images_seen) / 1000
    length = f"{trained_images:,.1f} kimg (thousand images seen)"
    if seen != trained_images:
        length += f"; the weights are those at {seen:,.1f} kimg, the best on the validation split"
    budget = facts.get("budget")
    rows = [
        ("recipe", f"chosen for a budget of {escape(budget)}" if budget else None),
        ("length", length),
        ("seed", facts.get("seed")),
        ("computed", ", ".join(plain(facts[name]) for name in ("device", "precision", "execution") if name in facts)),
        ("health", escape(facts.get("verdict") or "", TEXT)),
        ("training", code(facts["training_id"]) if "training_id" in facts else None),
    ]
    return table([(name, str(value)) for name, value in rows if value not in (None, "")])


def _onnx_example(trained: TrainedGenerator) -> str:
    config = trained.config
    drawn = "standard_normal((16, {}))" if config.latents == "normal" else "uniform(-1, 1, (16, {}))"
    labels = ', "labels": np.zeros(16, np.int64)' if config.classes else ""
    shape = f"(16, {config.channels}, {config.image_size}, {config.image_size})"
    return f"""\
With ONNX Runtime alone (`generator.onnx`, exported beside this folder):

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("generator.onnx")
latents = np.random.default_rng(0).{drawn.format(config.latent_dim)}.astype(np.float32)
(images,) = session.run(["images"], {{"latents": latents{labels}}})  # float32 {shape} in [-1, 1]
```"""


def _identifier(dataset: str) -> str:
    """Return a name as the Hub spells names of datasets."""
    return re.sub(r"[^\w.-]+", "-", dataset, flags=re.ASCII).strip("-.") or _UNKNOWN
