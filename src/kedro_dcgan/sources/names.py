"""Names of our own for members of archives, whose names are not to be trusted."""

import re
from pathlib import Path

from kedro_dcgan.errors import SourceError

# A drive, the root or a step, as often as a hostile name has them.
_BEGINNING = re.compile(r"^(?:[A-Za-z]:|\.{0,2}/)+")
# A name in a compressed header may have a million characters, and so may the next.
_LONGEST = 1000


class OwnNames:
    """Gives each member a relative path with `/` that no other has."""

    def __init__(self) -> None:
        # Each given name, with the last number that was put behind it.
        self._given: dict[str, int] = {}

    def name(self, member: str) -> str:
        """Return the name without drive, root, `.` and `..`; of equal ones the second gets `#2`."""
        parts = _BEGINNING.sub("", member.replace("\\", "/")).split("/")
        kept = "/".join(part for part in parts if part not in ("", ".", ".."))[:_LONGEST].rstrip("/")
        # Names of tar members may hold bytes that are not UTF-8, as surrogates.
        name = kept.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") or "unnamed"
        given, number = name, self._given.get(name, 1)
        while given in self._given:
            number += 1
            given = f"{name}#{number}"
        self._given[name] = number
        self._given.setdefault(given, 1)
        return given


def label_of(path: str) -> str | None:
    """Return the folder of a path as the label of what lies in it, or nothing at the top."""
    return path.rpartition("/")[0] or None


def is_hidden(path: str) -> bool:
    """Tell whether the name of a file, or of a folder that it lies in, begins with a dot."""
    return path.startswith(".") or "/." in path


def stamp(path: Path) -> str:
    """Return what changes when a file does, without reading it: size and time of change; `gone` if it is."""
    try:
        status = path.stat()
    except OSError:
        return "gone"
    return f"{status.st_size} {status.st_mtime_ns}"


def require_unchanged(path: Path, before: str) -> None:
    """Check that a file is still the one that a stamp is of.

    Raises:
        SourceError: if it has changed or is gone.
    """
    if stamp(path) != before:
        raise SourceError(f"`{path}` must stay as it is while it is read (it has changed). Run again.")
