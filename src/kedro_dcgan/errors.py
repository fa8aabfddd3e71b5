"""The exceptions for mistakes that a user can fix. The command line prints them without a traceback.

Every message is one line: "`<name>` must be <rule> (got <value>). <remedy>."
"""


class DcganError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ParameterError(DcganError):
    """A parameter is unknown, has the wrong type or is out of range."""


class SourceError(DcganError):
    """The source of the images is missing or unusable."""


class UnusableImageError(DcganError):
    """One image cannot be used. `reason` is one of `data.verdicts.Reason`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class DataError(DcganError):
    """Stored data are damaged, or do not fit the parameters."""


class DiskFullError(DataError):
    """The disk is full."""


class WorkerError(DcganError):
    """A worker process has died."""


class TrainingError(DcganError):
    """Training cannot start, continue or resume."""


class ModelError(DcganError):
    """A generator cannot be found or read."""


class ComparisonError(DcganError):
    """Two results cannot be compared, because their protocols differ."""


class TrackingError(DcganError):
    """The tracking server cannot be reached or refuses a request."""


def in_short(error: BaseException) -> str:
    """Return the first line of an error's message, at most 120 characters, or its type if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
