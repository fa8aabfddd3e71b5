"""Export of a generator for other runtimes: ONNX and torch.export. Neither format contains a pickle.

Both take latents float32 `(N, latent_dim)`, any N, and give images float32 `(N, C, H, W)` in [-1, 1]. Those of a
conditional generator also take the numbers of classes, int64 `(N,)`.
"""

import contextlib
import io
import json

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import classes_of, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator

# The largest difference between two runtimes of a value in [-1, 1], and the names of input and output.
TOLERANCE = 1e-4
LATENTS, LABELS, IMAGES = "latents", "labels", "images"


class _Conditional(nn.Module):
    """A generator with latents and classes as separate inputs."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        # A label that is out of range must be an error, not an image of no class.
        self.one_hot: Tensor
        self.register_buffer("one_hot", torch.eye(len(generator.config.classes)))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return self.generator(torch.cat([latents, self.one_hot[labels]], dim=1))


def checked_onnx(trained: TrainedGenerator) -> tuple[bytes, ExportedProgram]:
    """Return a generator as an ONNX model that gives the images of PyTorch, and the program that it was made from.

    Raises:
        ModelError: if the images of ONNX Runtime differ from those of PyTorch.
    """
    network = trained.build()
    program = exported_program(network)
    onnx_model = to_onnx(program, trained)
    require_same_images(network, onnx_model)
    return onnx_model, program


def exported_program(generator: Generator) -> ExportedProgram:
    """Return the generator in eval mode as a graph of torch's own operations, for any number of latents."""
    inputs: tuple[Tensor, ...] = (torch.zeros(2, generator.config.latent_dim),)
    network: nn.Module = generator.eval()
    if generator.config.classes:
        network, inputs = _Conditional(generator).eval(), (*inputs, torch.zeros(2, dtype=torch.int64))
    shapes = tuple({0: torch.export.Dim.AUTO} for _ in inputs)
    with torch.no_grad():
        program = torch.export.export(network, inputs, dynamic_shapes=shapes)
    # Stack traces contain the paths of this machine, and both formats would store them.
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


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
    names = [LATENTS, LABELS] if trained.config.classes else [LATENTS]
    with contextlib.redirect_stdout(io.StringIO()):
        exported = torch.onnx.export(program, (), input_names=names, output_names=[IMAGES], verbose=False)
    assert exported is not None  # noqa: S101  (None only if it writes a file)
    facts = {
        LATENTS: f"{trained.config.latents}, float32 (N, {trained.config.latent_dim})",
        IMAGES: "float32 (N, C, H, W) in [-1, 1]",
        "dataset_digest": trained.dataset_digest,
        "images_seen": str(trained.images_seen),
    }
    if trained.config.classes:
        numbers = f"int64 (N,), numbers of the classes, 0 to {len(trained.config.classes) - 1}"
        facts |= {LABELS: numbers, "classes": json.dumps(trained.config.classes)}
    # `model_proto` is a new object at each access.
    model = exported.model_proto
    onnx.helper.set_model_props(model, facts)
    return bytes(model.SerializeToString())


def require_same_images(generator: Generator, onnx_model: bytes) -> float:
    """Raise ModelError if images of ONNX Runtime and PyTorch differ by more than `TOLERANCE`; return the difference."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_model, providers=["CPUExecutionProvider"])
    largest, config = 0.0, generator.config
    for count in (1, 5):
        inputs = sample_inputs(count, config, seed=0)
        with torch.inference_mode():
            expected = generator(inputs)
        given = {LATENTS: inputs[:, : config.latent_dim].numpy()}
        if config.classes:
            given[LABELS] = classes_of(inputs, config).numpy()
        (images,) = session.run([IMAGES], given)
        largest = max(largest, float((torch.from_numpy(images) - expected).abs().max()))
    if not largest <= TOLERANCE:
        raise ModelError(
            f"images of the ONNX model must equal those of PyTorch to {TOLERANCE:g} (they differ by {largest:.2g}). "
            "Report this: the generator itself is not at fault."
        )
    return largest
