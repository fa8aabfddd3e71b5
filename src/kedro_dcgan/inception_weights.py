"""Where Inception's weights are, and how they get there: by an explicit command, and never within a run."""

import os
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import torch

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.inception import WEIGHTS_NAME, WEIGHTS_PREFIX, torch_fidelity_blocks


def fetch_weights(url: str | None = None) -> Path:
    """Download the weights to where torch hub keeps such files, with a bar, and return the file; it is checked.

    Raises:
        ModelError: if they cannot be had, or are others.
    """
    url = url or torch_fidelity_blocks().URL_INCEPTION_V3
    place = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
    try:
        if not urlparse(url).hostname:
            raise ValueError("no address")
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(place), hash_prefix=WEIGHTS_PREFIX)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        raise ModelError(
            f"the weights must be downloaded from {url} (fault: {error}). Try again, name another "
            f"place with --url, or put the file into {place.parent} yourself."
        ) from None
    return place


def find_weights(wanted: str | None) -> Path | None:
    """Return the weights' file: `auto` is where torch hub keeps it, if FID can be measured at all. Or nothing."""
    if wanted != "auto":
        # Path's own `expanduser` fails for a user that there is not.
        return Path(os.path.expanduser(wanted)) if wanted else None  # noqa: PTH111
    cached = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
    return cached if cached.is_file() and find_spec("torch_fidelity") else None
