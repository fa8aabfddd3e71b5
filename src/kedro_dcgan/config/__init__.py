"""The typed parameters: one frozen pydantic model for each top-level key of `conf/*/parameters_*.yml`.

`read_parameters` validates all of them at the start of a run; an error names the key as the user wrote it. Nodes
annotate their parameters with these models, so Kedro passes them typed. `python -m kedro_dcgan.config` writes their
documentation.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from kedro_dcgan.config.groups import AugmentationName, InitialisationName
from kedro_dcgan.config.stages import (
    EvaluationParameters,
    ExportParameters,
    IngestionParameters,
    ParameterGroup,
    PreprocessingParameters,
)
from kedro_dcgan.config.sweep import Dimension, SweepParameters
from kedro_dcgan.config.texts import LicenceText, WebAddress, is_web_page
from kedro_dcgan.config.training import (
    LEAST_OF_CLASS,
    MOST_CLASSES,
    ArchitectureName,
    Chosen,
    LossName,
    TrainingParameters,
    read_budget,
)
from kedro_dcgan.errors import ParameterError

__all__ = [
    "LEAST_OF_CLASS", "MOST_CLASSES", "ArchitectureName", "AugmentationName", "Chosen", "Dimension",
    "EvaluationParameters", "ExportParameters", "IngestionParameters", "InitialisationName", "LicenceText", "LossName",
    "ParameterGroup", "Parameters", "PreprocessingParameters", "SweepParameters", "TrainingParameters", "WebAddress",
    "dotted_keys", "dotted_values", "flatten", "is_web_page", "read_budget", "read_parameters", "rule_of",
]  # fmt: skip

# These change where and how fast the work runs, but not its result.
_RUNTIME_ONLY = ("ingestion.workers", "ingestion.engine")
# These describe the images. They may change between the parts of a run of MLflow, whose parameters cannot.
_DESCRIPTIONS = ("ingestion.licence", "ingestion.source_url")

_PLAIN_RULES = {
    "be a valid integer": "be a whole number",
    "be a valid number": "be a number",
    "be a valid string": "be text",
    "be a valid tuple": "be a list",
    "be a valid boolean": "be true or false",
    "Field required": "be a longer list",
}


class Parameters(ParameterGroup):
    """All parameters, by top-level key."""

    ingestion: IngestionParameters
    preprocessing: PreprocessingParameters
    training: TrainingParameters
    evaluation: EvaluationParameters
    export: ExportParameters
    sweep: SweepParameters


def flatten(parameters: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return the values that affect the result under dotted keys: `{"training.generator.width": 32, ...}`."""
    flat: dict[str, Any] = {}
    for name, value in parameters:
        key = f"{prefix}{name}"
        if isinstance(value, BaseModel):
            flat.update(flatten(value, f"{key}."))
        elif isinstance(value, dict):
            flat.update({f"{key}.{item}": str(dimension) for item, dimension in value.items()})
        elif key not in _RUNTIME_ONLY + _DESCRIPTIONS:
            flat[key] = value
    return flat


def as_param(value: Any) -> str:
    """Return a value as `--params` reads it: text in quotes, unless YAML would read it as the same text without."""
    if isinstance(value, str):
        with suppress(yaml.YAMLError):
            if not set(value) & set(",'\"[]{}") and value == value.strip() and yaml.safe_load(value) == value:
                return value
        return "'" + value.replace("'", "''") + "'"
    return "null" if value is None else json.dumps(value)


def rule_of(error: ValidationError) -> str:
    """Return the first rule that parameters violate, in one line."""
    return str(error.errors()[0]["msg"]).removeprefix("Value error, ")


def dotted_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= dotted_values(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of all groups and parameters of a model, in the order of declaration."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")


def read_parameters(raw: dict[str, Any], overridden: dict[str, Any]) -> Parameters:
    """Validate all parameters of a run.

    `raw` holds the values of the parameter files and of `--params`, `overridden` those of `--params` alone. Other
    top-level keys in files are ignored, unless they look like a misspelling of ours.

    Raises:
        ParameterError: for the first error, in one line.
    """
    known = Parameters.model_fields
    for key in raw:
        if key not in known and (key in overridden or get_close_matches(key, known)):
            raise ParameterError(_unknown_key(key))
    try:
        return Parameters.model_validate({key: value for key, value in raw.items() if key in known})
    except ValidationError as error:
        # A misspelt key gives two errors: an unknown key and a missing one. The first is more useful.
        errors = sorted(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        raise ParameterError(_message_of(dict(errors[0]))) from None


def _message_of(error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    name, choices, is_item = _locate(location)
    if error["type"] == "extra_forbidden":
        return _unknown_key(".".join(location))
    if error["type"] == "missing" and not is_item:
        return f"`{name}` must be given (it is missing). Add it to conf/base/parameters_{location[0]}.yml."
    if error["type"] == "string_pattern_mismatch":
        # The only pattern is that of the registered model.
        error["msg"] = "Value error, must have only letters, digits, dots, hyphens, underscores and {source}"
    is_group = "instance of" in error["msg"]
    # pydantic's messages are "Input should be a valid integer, unable to ..."; ours are "Value error, must ...".
    text = re.split("(?:, unable|, got| after) ", error["msg"])[0]
    rule = text.partition(" should ")[2] or text.removeprefix("Value error, must ")
    rule = choices or ("be a group of keys" if is_group else _PLAIN_RULES.get(rule, rule))
    # A rule about several keys names their values itself.
    spans_keys = isinstance(error["input"], dict)
    got = "" if error["type"] == "value_error" and spans_keys else f" (got {error['input']!r})"
    # An address may hold a password, which may contain slashes.
    got = re.sub("//.*@", "//…@", got)
    # `--params` cannot set a whole group.
    remedy = f" or with --params {name}=VALUE." if not (is_group or spans_keys or is_item) else "."
    return f"`{name}` must {rule}{got}. Change it in conf/*/parameters_{location[0]}.yml{remedy}"


def _locate(location: list[str]) -> tuple[str, str, bool]:
    """Return the key of an error, the allowed values of a key with several types, and whether a list's item is wrong.

    The key is returned as the user writes it. pydantic's location also contains the index of an item, or the name of a
    type, such as `constrained-int`.
    """
    group: Any = Parameters
    keys: list[str] = []
    for part in location:
        if not (isinstance(group, type) and issubclass(group, BaseModel) and part in group.model_fields):
            break
        owner, group = group, group.model_fields[part].annotation
        keys.append(part)
    rest = location[len(keys) :]
    if not rest or rest[0].isdigit():
        return ".".join(keys), "", bool(rest)
    types = owner.model_json_schema()["properties"][keys[-1]].get("anyOf", [])
    return ".".join(keys), "be " * bool(types) + " or ".join(map(_in_words, types)), False


def _in_words(schema: dict[str, Any]) -> str:
    match schema:
        case {"const": choice}:
            return str(choice)
        case {"type": "integer", "minimum": least, "maximum": most}:
            return f"a whole number from {least} to {most}"
        case {"type": "number", "minimum": least, "maximum": most}:
            return f"a number from {least:g} to {most:g}"
        case {"type": "boolean"}:
            return "true or false"
        case _:
            return str(schema["type"])


def _unknown_key(name: str) -> str:
    known = list(dotted_keys(Parameters))
    parent, _, leaf = name.rpartition(".")
    siblings = [key for key in known if key.rpartition(".")[0] == parent]
    same_leaf = [key for key in known if key.rpartition(".")[2] == leaf]
    close = same_leaf or [key for key in siblings if get_close_matches(leaf, [key.rpartition(".")[2]], cutoff=0.7)]
    if close:
        return f"`{name}` must be a known parameter (it is not). Did you mean `{'` or `'.join(close)}`?"
    return f"`{name}` must be a known parameter (it is not). Known here: {', '.join(siblings or known)}."
