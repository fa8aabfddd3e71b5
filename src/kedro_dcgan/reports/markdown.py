"""Markdown of texts that come from files: shown as they are, on one line, of bounded length, and without links."""

import re
from collections.abc import Sequence
from html import escape as escape_html
from urllib.parse import quote

from kedro_dcgan.config import is_web_page

# Most characters of a name, which comes from a file, and of a text of this project, which may contain names.
NAME, TEXT = 200, 2000
# The reserved characters of RFC 3986, and the sign of those that are encoded already.
_URL_SIGNS = ":/?#[]@!$&'()*+,;=%"


def plain(value: object, most: int = NAME) -> str:
    """Return a text on one line, of bounded length, without surrogates, control characters and the like."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in str(value)).split())
    return line if len(line) <= most else f"{line[:most]}…"


def escape(value: object, most: int = NAME) -> str:
    """Return a text that Markdown shows as it is, also in a table; code, as in `training.budget`, stays code."""
    parts = re.split(r"(`[\w.=-]+`)", plain(value, most), flags=re.ASCII)
    # Not every renderer knows `\<`.
    parts[::2] = [escape_html(re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", text), quote=False) for text in parts[::2]]
    # Some renderers make links of plain addresses.
    parts[::2] = [re.sub(r"(www)\.", r"\1&#46;", text, flags=re.I).replace("://", ":&#47;/") for text in parts[::2]]
    return "".join(parts)


def link(value: object) -> str:
    """Return the address of a web page as a link, and any other text as it is."""
    text = str(value)
    return f"<{quote(text, safe=_URL_SIGNS)}>" if is_web_page(text) else escape(text, TEXT)


def code(value: object) -> str:
    """Return a text as code, without the characters that end code or a cell."""
    return f"`{re.sub(r'[`|]', '', plain(value))}`"


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and values, which are Markdown, without a head."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
