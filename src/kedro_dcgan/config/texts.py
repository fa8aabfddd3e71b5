"""The types of parameters that are texts: paths, licences and addresses of web pages."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field


def is_web_page(value: str) -> bool:
    """Return whether a text is the address of a web page: http or https, a host, no spaces or control characters."""
    try:
        parts = urlsplit(value)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # A port that is not a number, half of an IPv6 address.
        return False
    return is_page and value.isprintable() and " " not in value


def _require_text(value: object) -> object:
    # Kedro and YAML read the name of a folder such as 2024 as a number, and 007 as 7.
    if isinstance(value, bool | int | float):
        raise ValueError("must be a path; write a name that YAML reads as a number, true or false as ./NAME")
    return value


def _require_line(value: str) -> str:
    # Line breaks, control characters and lone surrogates are not printable.
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be one line of text, without spaces around it")
    return value


def _require_web_page(value: str) -> str:
    if not is_web_page(value):
        raise ValueError("must be the address of a web page: http:// or https://, and a host")
    # The address is published with models.
    if "@" in urlsplit(value).netloc:
        raise ValueError("must have no user name and no password")
    return value


PathText = Annotated[str, Field(min_length=1), BeforeValidator(_require_text)]
LicenceText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_require_line)]
WebAddress = Annotated[str, Field(max_length=2000), AfterValidator(_require_line), AfterValidator(_require_web_page)]
