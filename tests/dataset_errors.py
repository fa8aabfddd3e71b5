"""A check of errors that a dataset raises and Kedro wraps."""

from contextlib import contextmanager

import pytest
from kedro.io import DatasetError


@contextmanager
def raises_dataset_error(kind, text):
    """Check the type and text of the error inside the DatasetError that Kedro raises."""
    with pytest.raises(DatasetError) as caught:
        yield caught
    assert isinstance(caught.value.__cause__, kind)
    assert text in str(caught.value.__cause__)
