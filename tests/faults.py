"""What tests say of errors that come through Kedro."""

from contextlib import contextmanager

import pytest
from kedro.io import DatasetError


@contextmanager
def fault(kind, text):
    """Kedro wraps what a dataset raises; the command line unwraps it."""
    with pytest.raises(DatasetError) as caught:
        yield caught
    assert isinstance(caught.value.__cause__, kind)
    assert text in str(caught.value.__cause__)
