"""The explorer: one HTML file that runs a generator in the browser, without Python and without a connection.

It contains the ONNX model, ONNX Runtime Web (`vendor/`) and the scripts of this folder. Its Content-Security-Policy
forbids every request.
"""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from importlib import resources

import torch

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.directions import Direction, find_directions
from kedro_dcgan.model.sampling import sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.model.synthetic_marks import SyntheticMark
from kedro_dcgan.reports.pages import render_page

# Larger files are slow to send, and to open on a phone.
MOST_BYTES = 30_000_000
SAMPLES, SEED, DIRECTIONS = 64, 0, 8
# In the order in which they use each other.
_SCRIPTS = ("network", "latents", "gif", "state", "files", "sliders", "slots", "walk", "controls")
_FOLDER = resources.files(__package__)


def write_explorer_page(
    trained: TrainedGenerator,
    onnx_model: bytes,
    directions: Sequence[Direction] | None = None,
    mark: SyntheticMark | None = None,
) -> str:
    """Return the page of a generator and its ONNX model (`model/export.py`); `mark` is that of the images it saves.

    Its samples are the first 64 of `kedro dcgan sample --seed 0`. Its directions are those of `find_directions` by
    default.

    Raises:
        ModelError: if the page would be larger than 30 MB.
    """
    config = trained.config
    channels = "grey levels" if config.channels == 1 else "colours"
    classes = f", {len(config.classes)} classes" if config.classes else ""
    page = render_page(
        "explorer/page.html",
        title=str(trained.facts.get("dataset") or "Generator"),
        description=f"Images of {config.image_size} × {config.image_size} pixels in {channels}{classes}, "
        f"by a generator that was trained on {trained.images_seen / 1000:.1f} kimg.",
        notice=COPIES_NOTICE if trained.facts.get("copies") else None,
        style=_read("page.css"),
        facts=_json(_facts(trained, directions or find_directions(trained.build(), DIRECTIONS), mark)),
        runtime=_base64((_FOLDER / "vendor/ort-wasm-simd-threaded.wasm.gz").read_bytes()),
        model=_base64(gzip.compress(onnx_model, mtime=0)),
        library=_library(),
        script="\n".join(_read(f"{name}.js") for name in _SCRIPTS),
    )
    if (size := len(page.encode())) > MOST_BYTES:
        raise ModelError(
            f"the explorer must have at most {MOST_BYTES / 1e6:.0f} MB (got {size / 1e6:.1f}, of which the generator "
            f"has {len(onnx_model) / 1e6:.1f}). Use a narrower generator: training.generator.width."
        )
    return page


def _facts(trained: TrainedGenerator, directions: Sequence[Direction], mark: SyntheticMark | None) -> dict[str, object]:
    config = trained.config
    latents = sample_inputs(SAMPLES, config, SEED, 0 if config.classes else None)[:, : config.latent_dim]
    return {
        "dataset": str(trained.facts.get("dataset") or ""),
        "imageSize": config.image_size,
        "channels": config.channels,
        "latents": config.latents,
        "latentDim": config.latent_dim,
        "classes": list(config.classes),
        "samples": _floats(latents),
        "directions": [{"name": one.name, "vector": _floats(one.vector)} for one in directions],
        "markChunk": _base64((mark or SyntheticMark.of(trained)).chunk()),
    }


def _library() -> str:
    """Return ONNX Runtime Web as an inline module, which nothing can import: it sets a global instead."""
    body, _, exports = _read("vendor/ort.wasm.bundle.min.mjs").rpartition("export{")
    names = {public: private for private, public in re.findall(r"(\w+) as (\w+)", exports)}
    wanted = [f"{name}:{names[name]}" for name in ("InferenceSession", "Tensor", "env")]
    return f"{body}globalThis.ort={{{','.join(wanted)}}};"


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _floats(values: torch.Tensor) -> str:
    return _base64(values.contiguous().numpy().astype("<f4").tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(content: object) -> str:
    # Names of classes may contain markup, which would end the script.
    return json.dumps(content).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
