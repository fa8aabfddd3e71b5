"""From the levels and colours that a file stores to 8 bits in sRGB, as a viewer shows them.

Files of more than 8 bits rarely say which level is white, so `to_eight_bits` derives it from the levels in use.
"""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from kedro_dcgan.data import Reason
from kedro_dcgan.errors import UnusableImageError

GREY_MODES = ("1", "L", "LA", "La", "F")
# A profile that changes no level by more than this is one of the many variants of sRGB, which differ by rounding.
_SAME_COLOUR = 2
# Overshoot of a resize or a few outliers, relative to the range; and the percentiles that such pixels do not reach.
_OVERSHOOT, _PERCENTILES = 0.1, (1, 99)
# Larger numbers mark pixels without a measurement, such as -3.4e38 in maps.
_LARGEST_LEVEL = 1e30
# Levels of which none reaches a quarter of 8 bits are labels or a mask.
DARKEST_WHITE = 64


def to_eight_bits(levels: np.ndarray) -> np.ndarray:
    """Scale integer or float levels `(H, W)` or `(H, W, bands)` to uint8 `(H, W, bands)`.

    Integers: white is the largest level of the fewest bits, of 8, 10, 12, 14, 16 and so on, that hold all levels; or of
    16 bits, if the levels are 8 bits widened to 16. Floats: the range is 0..1, -1..1, or 0 to white as for integers;
    levels beyond, such as the overshoot of a resize, are clipped. If some pixels are not measured, such as NaN, the
    result is grey with alpha `(H, W, 4)`, transparent there.

    Raises:
        UnusableImageError: `unsupported` if some integers are negative or the levels fit no such range; `blank` if no
            pixel has a measurement.
    """
    if levels.dtype.kind == "f":
        return _scale_floats(levels)
    low, high = int(levels.min()), int(levels.max())
    top = min(_white_of(high), float(np.iinfo(levels.dtype).max))
    if DARKEST_WHITE < high < 65535 / 4 and any(not (levels % factor).any() for factor in (256, 257)):
        top = 65535.0
    if low < 0 or (high < DARKEST_WHITE and low < high):
        raise _no_range(low, high)
    return _scale(levels, 0.0, top)


def _scale_floats(levels: np.ndarray) -> np.ndarray:
    measured = np.abs(levels) < _LARGEST_LEVEL
    if not measured.any():
        raise UnusableImageError(Reason.BLANK, "no pixel has a finite level")
    low, high = (float(level) for level in np.percentile(levels[measured], _PERCENTILES))
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        bottom, top = 0.0, 1.0
    elif low >= -1 - _OVERSHOOT and high <= 1 + _OVERSHOOT:
        bottom, top = -1.0, 1.0
    else:
        bottom, top = 0.0, _white_of(int(high / (1 + _OVERSHOOT)))
        if high < DARKEST_WHITE or low < -_OVERSHOOT * top:
            raise _no_range(low, high)
    grey = _scale(np.where(measured, levels, levels.dtype.type(bottom)), bottom, top)
    if measured.all():
        return grey
    return np.concatenate((grey, grey, grey, measured[:, :, None] * np.uint8(255)), axis=2)


def _white_of(high: int) -> float:
    """Return the largest level of the smallest even number of bits, at least 8, that hold `high`."""
    bits = max(8, high.bit_length())
    return float(2 ** (bits + bits % 2) - 1)


def _scale(levels: np.ndarray, bottom: float, top: float) -> np.ndarray:
    scaled = np.rint(np.clip((levels - bottom) / (top - bottom), 0, 1) * 255).astype(np.uint8)
    return scaled[:, :, None] if scaled.ndim == 2 else scaled


def _no_range(low: float, high: float) -> UnusableImageError:
    return UnusableImageError(
        Reason.UNSUPPORTED,
        f"levels {low:.6g} to {high:.6g}: the black and white levels are unknown; convert it to 8 bits",
    )


def srgb_transform(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from the colours of an image to sRGB.

    None if there is nothing to convert: the embedded ICC profile is sRGB, or it is ignored as in viewers, because it is
    damaged or for another kind of colour. Without a profile, levels are sRGB, except that mode LAB is CIELAB.
    """
    profile = image.info.get("icc_profile") or b""
    mode = image.mode if image.mode in ("CMYK", "LAB") else "L" if image.mode in GREY_MODES else "RGB"
    return _transform(profile, mode) if profile or mode == "LAB" else None


def convert_to_srgb(image: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """Return an image in sRGB, of mode RGB, or RGBA if `mode` is; transparency is not changed."""
    whole = image.convert("RGBA") if mode == "RGBA" else image
    colours = Image.new("RGB", image.size)
    transform.apply(whole if whole.mode == transform.input_mode else whole.convert(transform.input_mode), colours)
    if mode == "RGBA":
        colours.putalpha(whole.getchannel("A"))
    return colours


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.getOpenProfile(BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode in ("L", "RGB"):
        grid = np.arange(0, 256, 15, dtype=np.uint8)
        probe = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(-1, len(grid), 3)
        image = Image.fromarray(probe).convert(mode)
        changed = np.asarray(convert_to_srgb(image, mode, transform), dtype=int) - np.asarray(image.convert("RGB"))
        if np.abs(changed).max() <= _SAME_COLOUR:
            return None
    return transform
