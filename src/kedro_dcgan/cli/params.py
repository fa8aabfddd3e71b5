"""The option `--params`: Kedro's syntax, and lists and quoted values, whose commas Kedro would split."""

from typing import Any

import click
import yaml
from omegaconf import OmegaConf

from kedro_dcgan.errors import ParameterError

PARAMS_HELP = """Parameters to override: KEY=VALUE pairs separated by commas, for example
training.epochs=10,training.generator.betas=[0.5,0.9]. Quote a value that contains commas: ingestion.source="a,b"."""


def split_params(context: click.Context, option: click.Parameter, text: Any) -> dict[str, Any]:
    """Return the nested values of `--params`: KEY=VALUE pairs that are separated by commas.

    A comma in brackets or quotes does not separate. A value is a YAML scalar or a list in brackets; text that YAML
    would not read as it stands, such as a path with `: ` or ` #` in it, is taken literally.

    Raises:
        ParameterError: a pair without `=` or key, an unclosed quote or bracket, or a key that is a value and a group.
    """
    if isinstance(text, dict):
        # From the file of `--config`.
        return text
    values: dict[str, Any] = {}
    for pair in _split_at_commas(text):
        name, separator, value = pair.partition("=")
        *groups, leaf = keys = name.strip().split(".")
        if not separator or not all(keys):
            raise ParameterError(
                f"`--params` must be KEY=VALUE pairs separated by commas (got {pair.strip()!r}). Quote a value that "
                """contains commas: --params 'ingestion.source="a,b"'."""
            )
        group = values
        for key in groups:
            group = group.setdefault(key, {})
            if not isinstance(group, dict):
                raise ParameterError(f"`--params` must not set both `{key}` and a key in it (got {name}). Remove one.")
        group[leaf] = _value_of(value.strip(), name)
    return values


def _split_at_commas(text: str) -> list[str]:
    pairs, quote, depth = [""], "", 0
    for character in text:
        # A quote opens a quoted text only at the start of a value or an item: "it's" is ordinary text.
        last = pairs[-1].rstrip()[-1:]
        if quote:
            quote = "" if character == quote and not (quote == '"' and last == "\\") else quote
        elif character in "'\"" and last in ("=", "[", ",", character):
            quote = character
        elif character in "[{" and (depth or last == "="):
            depth += 1
        elif character in "]}" and depth:
            depth -= 1
        if character == "," and not quote and not depth:
            pairs.append("")
        else:
            pairs[-1] += character
    return [pair for pair in pairs if pair.strip()]


def _value_of(text: str, name: str) -> Any:
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[call-overload,index]
    except (yaml.YAMLError, ValueError):
        if text[:1] in ("'", '"', "[", "{"):
            raise ParameterError(
                f"`{name}` must have balanced quotes and brackets (got {text}). Quote text that starts with one."
            ) from None
        return text
    is_literal = isinstance(value, str | dict) and text[:1] not in ("'", '"', "{")
    # YAML takes text after `#` for a comment.
    is_literal |= value is None and text.lower() not in ("", "~", "null")
    return text if is_literal else value
