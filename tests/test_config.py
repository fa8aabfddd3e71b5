"""The parameter models: validation, error messages, and the documentation generated from them."""

import json
import re
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from kedro_dcgan.config import Parameters, dotted_keys, flatten, read_parameters
from kedro_dcgan.config.__main__ import SCHEMA_FILE, editor_schema, generated_files
from kedro_dcgan.config.pages import FOLDER, PRESETS
from kedro_dcgan.errors import ParameterError

PROJECT = Path(__file__).parents[1]
FILES = sorted(PROJECT.glob("conf/*/parameters_*.yml"))
BASE = [file for file in FILES if file.parent.name == "base"]
NAMES = [f"{file.parent.name}/{file.name}" for file in FILES]


@pytest.fixture
def raw():
    merged = {}
    for file in BASE:
        merged.update(yaml.safe_load(file.read_text()))
    return merged


def error_of(raw, **overridden):
    with pytest.raises(ParameterError) as caught:
        read_parameters(raw, overridden)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_base_parameters_are_valid(raw):
    assert read_parameters(raw, {}).training.generator.betas == (0.5, 0.999)


def test_out_of_range_value_is_reported_with_rule_and_remedy(raw):
    raw["training"]["batch_size"] = 1
    error = error_of(raw)
    for fact in ("`training.batch_size`", "equal to 2", "(got 1)", "conf/*/parameters_training.yml"):
        assert fact in error
    assert "--params training.batch_size=VALUE" in error


@pytest.mark.parametrize("value", [2024, 7, 1e5, True])
@pytest.mark.parametrize("key", ["ingestion.source", "preprocessing.crop.boxes", "evaluation.inception_weights"])
def test_path_that_is_read_as_a_number_is_rejected_with_the_way_to_write_it(raw, key, value):
    *groups, name = key.split(".")
    group = reduce(getitem, groups, raw)
    group[name] = value
    error = error_of(raw)
    assert error.startswith(f"`{key}` must be a path")
    assert f"./NAME (got {value})" in error
    group[name] = f"./{value}"
    assert reduce(getattr, key.split("."), read_parameters(raw, {})) == f"./{value}"


def test_nested_misspelling_suggests_the_right_key(raw):
    raw["training"]["generator"]["learning_rat"] = 0.1
    assert "Did you mean `training.generator.learning_rate`" in error_of(raw)


def test_key_at_the_wrong_level_suggests_the_right_level(raw):
    raw["training"]["learning_rate"] = 0.1
    assert "`training.generator.learning_rate` or `training.discriminator.learning_rate`" in error_of(raw)


def test_misspelt_top_level_key_is_reported_in_files_and_in_params(raw):
    raw["trainig"] = {"epochs": 3}
    assert "Did you mean `training`" in error_of(raw)
    del raw["trainig"]
    raw["banana"] = 1
    assert "Known here: ingestion, preprocessing" in error_of(raw, banana=1)


def test_unrelated_parameters_are_ignored(raw):
    raw["my_experiment"] = {"anything": 1}
    read_parameters(raw, {})


def test_missing_key_is_reported(raw):
    del raw["export"]["seed"]
    assert error_of(raw).startswith("`export.seed`")


def test_near_duplicate_threshold_is_at_most_8_bits(raw):
    raw["ingestion"]["near_duplicates"]["most_bits"] = 9
    error = error_of(raw)
    assert all(fact in error for fact in ("`ingestion.near_duplicates.most_bits`", "equal to 8", "(got 9)"))


def test_split_fractions_must_add_up_to_1(raw):
    raw["ingestion"]["splits"]["test"] = 0.5
    error = error_of(raw)
    assert error.startswith("`ingestion.splits`")
    assert "1.3" in error


@pytest.mark.parametrize(
    ("configured", "count", "expected"),
    [
        ("auto", 4_999, ("translation",)),
        ("auto", 5_000, ()),
        (["colour"], 100, ("colour",)),
        ([], 100, ()),
    ],
)
def test_few_images_are_augmented(raw, configured, count, expected):
    raw["training"]["augmentation"]["differentiable"] = configured
    training = read_parameters(raw, {}).training
    assert training.for_images(count).augmentation.names == expected


def test_error_in_a_list_or_a_group_suggests_no_params_option(raw):
    raw["training"]["generator"]["betas"] = [0.5, 1.5]
    error = error_of(raw)
    for fact in ("`training.generator.betas`", "less than 1", "(got 1.5)", "conf/*/parameters_training.yml"):
        assert fact in error
    assert "--params" not in error
    raw["training"]["generator"] = 3
    error = error_of(raw)
    assert error.startswith("`training.generator`")
    assert "(got 3)" in error
    assert "--params" not in error


def change(raw, key, value):
    """Set a value under a dotted key."""
    *groups, leaf = key.split(".")
    for name in groups:
        raw = raw[name]
    raw[leaf] = value


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("training.devices", 0, ("from 1 to 4096", "external")),
        ("training.devices", "gpu", ("from 1 to 4096", "external")),
        ("training.devices", None, ("from 1 to 4096", "external")),
        ("training.threads", 1.5, ("from 1 to 4096", "auto")),
        ("training.compile", "fast", ("true or false", "auto")),
        ("ingestion.workers", 0, ("from 1 to 1024", "auto")),
        ("evaluation.real_images", 1, ("equal to 2",)),
    ],
    ids=str,
)
def test_error_of_a_parameter_with_several_types_names_its_key_and_all_values(raw, key, value, allowed):
    change(raw, key, value)
    error = error_of(raw)
    assert error.startswith(f"`{key}` must be ")
    assert error.endswith(f"--params {key}=VALUE.")
    assert all(fact in error for fact in (*allowed, f"(got {value!r})"))
    assert not any(word in error for word in ("constrained", "literal", ".bool", "Input"))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("training.epochs", "ten", "be a number (got 'ten')"),
        ("training.batch_size", 2.5, "be a whole number (got 2.5)"),
        ("training.augmentation.flip", "maybe", "be true or false (got 'maybe')"),
        ("ingestion.source", {"my": "photos"}, "be text (got {'my': 'photos'})"),
        ("ingestion.source", "", "have at least 1 character (got '')"),
        ("training.generator.betas", [0.5], "be a longer list (got [0.5])"),
        ("training.generator.betas", [0.5] * 3, "have at most 2 items (got"),
        ("ingestion.licence", "", "have at least 1 character (got '')"),
        ("ingestion.licence", "x" * 201, "have at most 200 characters"),
        ("ingestion.licence", "CC0\n", "be one line of text, without spaces around it (got 'CC0\\n')"),
        ("ingestion.licence", 4.0, "be text (got 4.0)"),
        ("ingestion.source_url", "https://x.org/" + "x" * 2000, "have at most 2000 characters"),
        ("ingestion.source_url", "https://x.org/\nx", "be one line of text"),
        (
            "ingestion.source_url",
            "https://u:secret@x.org/",
            "have no user name and no password (got 'https://…@x.org/')",
        ),
        ("ingestion.source_url", "https://u:sec/ret@x.org/", "and a host (got 'https://…@x.org/')"),
        ("export.registered_model", "a b", "digits, dots, hyphens, underscores and {source} (got 'a b')"),
    ],
    ids=str,
)
def test_rules_are_in_plain_words(raw, key, value, rule):
    change(raw, key, value)
    assert rule in error_of(raw)


@pytest.mark.parametrize(
    "url",
    [
        "x.org",
        "javascript:alert(1)",
        "ftp://x.org/",
        "https://",
        "http:///x",
        "https://[x",
        "https://x:y/",
        "http://a b/",
    ],
)
def test_address_of_the_images_must_be_that_of_a_web_page(raw, url):
    change(raw, "ingestion.source_url", url)
    error = error_of(raw)
    assert error.startswith("`ingestion.source_url` must be the address of a web page: http:// or https://, and a host")


@pytest.mark.parametrize("url", ["https://x.org", "http://x.org:80/a?b=c#d", "https://münchen.de/@a", "HTTPS://[::1]/"])
def test_addresses_of_web_pages_are_accepted(raw, url):
    change(raw, "ingestion.source_url", url)
    assert read_parameters(raw, {}).ingestion.source_url == url


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_preset_with_its_own_source_does_not_inherit_the_licence_of_another(file):
    values = (yaml.safe_load(file.read_text()) or {}).get("ingestion", {})
    assert "source" not in values or {"licence", "source_url"} <= values.keys()


def numbers():
    """Return the dotted keys of all parameters that can be numbers."""
    flat = flatten(
        Parameters.model_validate({k: v for file in BASE for k, v in yaml.safe_load(file.read_text()).items()})
    )
    nullable = {"ingestion.min_size", "training.kimg", "preprocessing.crop.side", "training.discriminator.dropout"}
    found = {key for key, value in flat.items() if type(value) in (int, float)} | nullable | {"ingestion.workers"}
    return sorted(found | {"evaluation.real_images", "training.images_per_validation", "training.threads"})


@pytest.mark.parametrize("key", numbers())
def test_every_number_has_bounds(raw, key):
    for value in (float("inf"), float("-inf"), float("nan"), 1e300, 10**400):
        change(raw, key, value)
        assert error_of(raw).startswith(f"`{key}` must ")


def test_parameters_are_frozen(raw):
    with pytest.raises(ValueError, match="frozen"):
        read_parameters(raw, {}).training.seed = 3


def test_flatten_returns_dotted_keys_without_runtime_options(raw):
    parameters = read_parameters(raw, {})
    flat = flatten(parameters)
    assert flat["training.generator.width"] == raw["training"]["generator"]["width"]
    assert not any(isinstance(value, dict) for value in flat.values())
    assert not {"ingestion.workers", "ingestion.engine"} & flat.keys()
    # MLflow allows no other value for a parameter of a resumed run, and these may change.
    assert not {"ingestion.licence", "ingestion.source_url"} & flat.keys()
    assert flatten(parameters.training, "training.").items() <= flat.items()


def test_comments_pages_and_schema_are_up_to_date():
    """To update them: `python -m kedro_dcgan.config`."""
    generated = generated_files(PROJECT)
    assert {file for file in FILES if file.parent.name != "local"} < generated.keys()
    stale = [str(file) for file, text in generated.items() if not file.exists() or file.read_text() != text]
    assert stale == []


def test_generated_comments_change_no_value_and_are_written_once(tmp_path):
    file = tmp_path / "conf/base/parameters_export.yml"
    file.parent.mkdir(parents=True)
    values = yaml.safe_load("".join(base.read_text() for base in BASE))
    bare = "# Mine.\n" + yaml.safe_dump(values, sort_keys=False)
    file.write_text(bare)
    text = generated_files(tmp_path)[file]
    assert yaml.safe_load(text) == values
    assert text.splitlines()[1] == "# Mine."
    assert max(map(len, text.splitlines())) <= 120
    file.write_text(text)
    assert generated_files(tmp_path)[file] == text


@pytest.fixture(scope="module")
def pages():
    """The reference pages of the parameters, by name."""
    return {file.name: text for file, text in generated_files(PROJECT).items() if file.parent == PROJECT / FOLDER}


def rows_of(pages, group):
    """Return the cells of the table under the heading of a group, by parameter, and the paragraph above it."""
    text = "".join(pages.values()).split(f"# {group}\n")[1].partition("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {name.strip("`"): cells for name, *cells in rows}, text.strip().splitlines()[0]


def test_every_parameter_has_a_description(pages):
    for key in dotted_keys(Parameters):
        group, _, name = key.rpartition(".")
        known = rows_of(pages, group)[0] if group else {}
        description = known[name][-1] if name in known else rows_of(pages, key)[1]
        assert len(description) > 10, key


def test_pages_have_type_range_unit_and_default_of_a_parameter(pages):
    facts = [
        ("training.ema", "half_life", "integer or null: 1 to 1000000000000 images · default `2500`"),
        ("preprocessing", "image_size", "integer: 16 to 512 pixels · default `32`"),
        ("ingestion", "engine", "text: processes, ray · default `processes`"),
    ]
    for group, name, expected in facts:
        assert rows_of(pages, group)[0][name][-1].endswith(f"<br>*{expected}*")


def test_page_of_the_presets_has_the_values_that_differ_from_base(pages):
    _, *sections = re.split(r"^## ", pages["presets.md"], flags=re.MULTILINE)
    shown = {text.split("\n")[0]: dict(re.findall(r"^\| `(\S+)` \| (.*) \|$", text, re.MULTILINE)) for text in sections}
    assert list(shown) == list(PRESETS)
    assert shown["digits28"]["training.batch_size"] == "`256` (`16`)"
    assert "training.discriminator.batch_norm" not in shown["digits28"]
    # Named in the preset's file, with the value of base.
    assert "ingestion.licence" not in shown["digits28"]
    assert {folder.name for folder in (PROJECT / "conf").iterdir() if folder.is_dir()} >= {*PRESETS}


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((PROJECT / SCHEMA_FILE).read_text())
    assert schema == editor_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_schema_accepts_the_parameter_files(validator, file):
    first, text = file.read_text().split("\n", 1)
    assert (file.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == PROJECT / SCHEMA_FILE
    validator.validate(yaml.safe_load(text))


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_numbers_have_no_underscores(file):
    """In YAML 1.2, which editors read, `20_000` is a string, and the schema rejects it."""
    pending = [yaml.compose(file.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.ScalarNode):
            assert node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") or "_" not in node.value
        else:
            pending += [child for item in node.value for child in (item if isinstance(item, tuple) else (item,))]


@pytest.mark.parametrize(
    "content",
    [
        {"trainig": {}},
        {"training": {"batchsize": 8}},
        {"training": {"generator": {"widht": 8}}},
        {"training": {"batch_size": 1}},
        {"training": {"loss": "wasserstein"}},
        {"training": {"discriminator": {"betas": [0.5]}}},
        {"ingestion": {"splits": {"train": 1.5}}},
    ],
    ids=str,
)
def test_schema_rejects_unknown_keys_and_wrong_values(validator, content):
    with pytest.raises(ValidationError):
        validator.validate(content)
