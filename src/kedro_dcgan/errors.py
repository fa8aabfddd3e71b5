"""The exceptions that a user can cause.

Every message is one line: "`<name>` must be <rule> (got <value>). <what to do>."
"""


class DcganError(Exception):
    """Root of every error that this package raises on purpose."""


class ParameterError(DcganError):
    """A parameter is unknown, has the wrong type or is out of range."""


class SourceError(DcganError):
    """The images that a run was pointed at are missing or unusable."""


class UnusableImageError(DcganError):
    """One image cannot be used; `reason` is from the manifest's closed list."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class DataError(DcganError):
    """Stored data do not fit what is asked of them, or are damaged."""


class DiskFullError(DataError):
    """There is no room left for what is written."""


class WorkerError(DcganError):
    """A process that was to share the work has died."""


class TrainingError(DcganError):
    """Training cannot start, or cannot go on."""


class ModelError(DcganError):
    """A generator cannot be found or read."""


class ComparisonError(DcganError):
    """Two results were not measured in the same way."""


class TrackingError(DcganError):
    """The tracking server does not do what is asked of it."""


def in_short(error: BaseException) -> str:
    """Return the first line of what an error says, at most 120 characters; what it is, if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
