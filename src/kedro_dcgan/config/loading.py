"""All parameters at once: checked, with a fault reported in the user's own keys."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from kedro_dcgan.config.data import IngestionParameters, PreprocessingParameters
from kedro_dcgan.config.results import EvaluationParameters, ExportParameters
from kedro_dcgan.config.training import TrainingParameters
from kedro_dcgan.config.types import Group
from kedro_dcgan.errors import ParameterError


class Parameters(Group):
    """All parameters, by their top-level keys."""

    ingestion: IngestionParameters
    preprocessing: PreprocessingParameters
    training: TrainingParameters
    evaluation: EvaluationParameters
    export: ExportParameters


def read_parameters(raw: dict[str, Any], overridden: dict[str, Any]) -> Parameters:
    """Check every parameter of a run and return them typed.

    `raw` holds what the parameter files and `--params` say together, `overridden` what `--params`
    says alone. A top-level key of a file that is not ours is left alone unless it looks like a
    misspelling of one that is.

    Raises:
        ParameterError: in one line, the first fault: the key, the rule, the value, the remedy.
    """
    ours = Parameters.model_fields
    for key in raw:
        looks_misspelt = bool(get_close_matches(key, ours))
        if key not in ours and (looks_misspelt or key in overridden):
            raise ParameterError(_unknown(key))
    try:
        return Parameters.model_validate({key: value for key, value in raw.items() if key in ours})
    except ValidationError as error:
        # A misspelt key causes two faults, the unknown key and the missing one: the first tells more.
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        raise ParameterError(_describe(dict(faults[0]))) from None


# Where and how fast the work is done, but not what comes out.
RUNTIME_ONLY = ("ingestion.workers", "ingestion.engine")


def flatten(parameters: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return what decides the result under dotted keys: `{"training.generator.width": 32, ...}`."""
    flat: dict[str, Any] = {}
    for name, value in parameters:
        if f"{prefix}{name}" in RUNTIME_ONLY:
            continue
        key = f"{prefix}{name}"
        flat.update(flatten(value, f"{key}.") if isinstance(value, BaseModel) else {key: value})
    return flat


def _describe(fault: dict[str, Any]) -> str:
    keys = [str(part) for part in fault["loc"]]
    name = ".".join(keys)
    if fault["type"] == "extra_forbidden":
        return _unknown(name)
    if fault["type"] == "missing":
        return f"`{name}` must be given (it is missing). Add it to conf/base/parameters_{keys[0]}.yml."
    # The place of an item in a list, and a group of keys, are changed in the file alone.
    named = [key for key in keys if not key.isdigit()]
    is_group = "instance of" in fault["msg"] or isinstance(fault["input"], dict)
    remedy = "." if is_group or len(named) < len(keys) else f" or with --params {name}=VALUE."
    rule = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("must ")
    rule = "be a group of keys" if "instance of" in rule else rule
    rule = rule if rule.startswith(("be ", "add ", "have ")) else f"be {rule}"
    # A rule on several keys says itself what they are.
    got = "" if fault["type"] == "value_error" and isinstance(fault["input"], dict) else f" (got {fault['input']!r})"
    return f"`{'.'.join(named)}` must {rule}{got}. Change it in conf/*/parameters_{keys[0]}.yml{remedy}"


def _unknown(name: str) -> str:
    known = _known_keys(Parameters)
    parent, _, leaf = name.rpartition(".")
    siblings = [key for key in known if key.rpartition(".")[0] == parent]
    same_leaf = [key for key in known if key.rpartition(".")[2] == leaf]
    close = same_leaf or [key for key in siblings if get_close_matches(leaf, [key.rpartition(".")[2]], cutoff=0.7)]
    if close:
        return f"`{name}` must be a known parameter (it is not). Did you mean `{'` or `'.join(close)}`?"
    return f"`{name}` must be a known parameter (it is not). Known here: {', '.join(siblings or known)}."


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys
