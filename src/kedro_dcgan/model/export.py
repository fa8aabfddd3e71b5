"""Export of a generator for other runtimes: ONNX and torch.export. Neither format contains a pickle.

Both take latents float32 `(N, latent_dim)`, any N, and give images float32 `(N, C, H, W)` in [-1, 1].
"""

import contextlib
import io

import torch
from torch.export import ExportedProgram

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import sample_latents
from kedro_dcgan.model.saved import TrainedGenerator

# The largest difference between two runtimes of a value in [-1, 1], and the names of input and output.
TOLERANCE = 1e-4
LATENTS, IMAGES = "latents", "images"


def exported_program(generator: Generator) -> ExportedProgram:
    """Return the generator in eval mode as a graph of torch's own operations, for any number of latents."""
    latents = torch.zeros(2, generator.config.latent_dim)
    with torch.no_grad():
        return torch.export.export(generator.eval(), (latents,), dynamic_shapes=({0: torch.export.Dim.AUTO},))


def to_pt2(program: ExportedProgram) -> bytes:
    """Return the program as bytes for `torch.export.load`."""
    file = io.BytesIO()
    # Leave out the example inputs, the only part of the archive that torch pickles.
    examples, program.example_inputs = program.example_inputs, None
    torch.export.save(program, file)
    program.example_inputs = examples
    return file.getvalue()


def to_onnx(program: ExportedProgram, trained: TrainedGenerator) -> bytes:
    """Return an ONNX model from `latents` to `images`; its metadata describes both."""
    import onnx

    # torch prints every pass of the exporter.
    with contextlib.redirect_stdout(io.StringIO()):
        exported = torch.onnx.export(program, (), input_names=[LATENTS], output_names=[IMAGES], verbose=False)
    assert exported is not None  # noqa: S101  (None only if it writes a file)
    facts = {
        LATENTS: f"{trained.config.latents}, float32 (N, {trained.config.latent_dim})",
        IMAGES: "float32 (N, C, H, W) in [-1, 1]",
        "dataset_digest": trained.dataset_digest,
        "images_seen": str(trained.images_seen),
    }
    onnx.helper.set_model_props(exported.model_proto, facts)
    return bytes(exported.model_proto.SerializeToString())


def require_same_images(generator: Generator, onnx_model: bytes) -> float:
    """Raise ModelError if images of ONNX Runtime and PyTorch differ by more than `TOLERANCE`; return the difference."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_model, providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in (1, 5):
        latents = sample_latents(count, generator.config, seed=0)
        with torch.inference_mode():
            expected = generator(latents)
        (images,) = session.run([IMAGES], {LATENTS: latents.numpy()})
        largest = max(largest, float((torch.from_numpy(images) - expected).abs().max()))
    if not largest <= TOLERANCE:
        raise ModelError(
            f"images of the ONNX model must equal those of PyTorch to {TOLERANCE:g} (they differ by {largest:.2g}). "
            "Report this: the generator itself is not at fault."
        )
    return largest
