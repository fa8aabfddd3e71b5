"""Faults in the files of `conf/`: one line with the file and the line, and no file that takes hours."""

import subprocess
import sys
import tarfile

import pytest

from kedro_dcgan.config.yaml_files import check_interpolations, check_yaml
from kedro_dcgan.config_loader import OneLineConfigLoader
from kedro_dcgan.errors import ParameterError


def aliases(length, factor):
    """Return a file whose expanded size is `factor` to the power of `length`."""
    lines = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * factor)}]" for n in range(1, length))
    return "\n".join(["a0: &a0 [x]", *lines]).encode()


FAULTS = {
    "tab": (b"a:\n  b: 1\n\tc: 2\n", "line 3", "tabs"),
    "duplicate key": (b"a:\n  b: 1\n  c: 2\n  b: 3\n", "line 4", "`b` of line 2"),
    "duplicate top-level key": (b"a: 1\na: 2\n", "line 2", "`a` of line 1"),
    "colon and space in a path": (b"a: 1\nsource: my: photos\n", "line 2", "single quotes"),
    "quoted Windows path": (b'source: "C:\\Users\\me"\n', "line 1", "single quotes"),
    "percent sign at the start": (b"a:\n  b: %HOME%/photos\n", "line 2", "single quotes"),
    "at sign at the start": (b"a: @home\n", "line 1", "single quotes"),
    "unclosed bracket": (b"a: [1, 2\nb: 3\n", "line 2"),
    "unclosed quote": (b"a: 1\nb: 'x\n", "line "),
    "two documents": (b"a: 1\n---\nb: 2\n", "line 2"),
    "Latin-1": ("a: 1\nsource: Bilder/Käfer\n".encode("latin-1"), "line 2", "UTF-8", "0xe4"),
    "UTF-16": ("a: 1\n".encode("utf-16"), "UTF-8", "UTF-16"),
    "UTF-16 without BOM": ("a: 1\n".encode("utf-16-le"), "line 1", r"'\x00'"),
    "control character": (b"a: 1\nb: x\x07y\n", "line 2", r"'\x07'"),
    "list on top": (b"- a\n", "line 1", "key"),
    "text on top": (b"hello\n", "line 1", "key"),
    "Python object": (b"a: !!python/object/apply:os.system [ls]\n", "line 1", "tag"),
    "own tag": (b"a: !mine 3\n", "line 1", "!mine"),
    "unknown alias": (b"a: *b\n", "line 1", "b"),
    "alias of itself": (b"a: &a [1, *a]\n", "line 1", "alias"),
    "alias bomb": (aliases(40, 2), "aliases"),
    "long chain of aliases": (aliases(2000, 1), "levels"),
    "deep nesting": (b"a: " + b"[" * 100_000, "line 1", "nested"),
    "large file": (b"# " + b"x" * 2_000_000, "1,000,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_fault_in_a_file_is_one_line_with_file_and_line(case):
    content, *facts = FAULTS[case]
    with pytest.raises(ParameterError) as caught:
        check_yaml(content, "conf/local/parameters.yml")
    error = str(caught.value)
    assert error.startswith("`conf/local/parameters.yml`")
    assert all(fact in error for fact in facts), error
    assert "\n" not in error
    assert len(error) < 300


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# only a comment\n",
        b"\xef\xbb\xbfa: 1\n",
        b"a:\r\n  b: 1\r\n  c: [1, 2]\r\n",
        "a: 'K\u00e4fer'\n".encode(),
        b"a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n",
        b'{\n  "a": {"b": 1}\n}\n',
        b"a: 2024-01-01\nb: 1e-4\nc: null\nd: yes\n1: 2\n",
    ],
    ids=["empty", "comment", "BOM", "CRLF", "accents", "aliases", "JSON", "scalars"],
)
def test_valid_files_are_accepted(content):
    check_yaml(content, "conf/local/parameters.yml")


def test_interpolations_that_multiply_are_refused():
    bomb = {f"k{n}": f"${{k{n + 1}}}${{k{n + 1}}}" for n in range(40)} | {"k40": "x"}
    for name, values in {
        "text": bomb,
        "resolver": {key: value.replace("${", "${oc.select:") for key, value in bomb.items()},
        "relative": {"group": {key: value.replace("{", "{.") for key, value in bomb.items()}},
        "lists": {key: value if key == "k40" else [f"${{k{int(key[1:]) + 1}}}"] * 2 for key, value in bomb.items()},
        "groups": {"g0": {"x": 1}} | {f"g{n + 1}": {"a": f"${{g{n}}}", "b": [f"${{...g{n}}}"]} for n in range(40)},
    }.items():
        with pytest.raises(ParameterError, match=r"at most 10,000 interpolations"):
            check_interpolations(values)
        assert name


def test_interpolation_within_another_is_refused():
    # Its key is known only after the inner one is resolved, so the steps cannot be counted.
    with pytest.raises(ParameterError, match=r"`a\.b` .*\$\{k\$\{one\}\}"):
        check_interpolations({"a": {"b": "${k${one}}${k${one}}"}, "k1": "x", "one": 1})


def test_ordinary_interpolations_are_accepted():
    datasets = {
        f"dataset{n}": {"path": "${_base}/a", "sizes": ["${.path}", "${..dataset0.sizes[0]}"]} for n in range(200)
    }
    # OmegaConf itself reports a circle and a missing key.
    check_interpolations(
        {"_base": "data", **datasets, "x": "${y}", "y": "${x}", "z": "${nowhere.at.all}", "t": "${tracking_uri:}"}
    )


@pytest.fixture
def conf(tmp_path):
    for preset in ("base", "mine"):
        (tmp_path / "conf" / preset).mkdir(parents=True)
    (tmp_path / "conf/base/parameters_training.yml").write_text("training: {seed: 0, epochs: 2}\n")
    return tmp_path / "conf"


def load(conf, env=None, key="parameters", **options):
    loader = OneLineConfigLoader(conf, env, base_env="base", default_run_env="local", **options)
    return loader[key]


def error_of(*arguments, **options):
    with pytest.raises(ParameterError) as caught:
        load(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_loader_reads_presets_from_a_folder_or_an_archive_without_a_local_folder(conf, tmp_path):
    (conf / "mine/parameters_training.yml").write_bytes(b"\xef\xbb\xbftraining:\r\n  epochs: 5\r\n")
    soft = {"merge_strategy": {"parameters": "soft"}}
    with tarfile.open(tmp_path / "conf.tar.gz", "w:gz") as archive:
        archive.add(conf, "conf")
    for source in (conf, tmp_path / "conf.tar.gz"):
        assert load(source, **soft)["training"] == {"seed": 0, "epochs": 2}
        assert load(source, "mine", **soft)["training"] == {"seed": 0, "epochs": 5}
        error = error_of(source, "yours")
        assert all(fact in error for fact in ("`--env`", "(got yours)", "Presets: base, mine."))


def test_loader_names_the_file_of_a_fault(conf):
    file = conf / "mine/parameters_training.yml"
    for content, *facts in (FAULTS["tab"], FAULTS["Latin-1"], FAULTS["duplicate key"], FAULTS["alias bomb"]):
        file.write_bytes(content)
        assert all(fact in error_of(conf, "mine") for fact in (str(file), *facts))
        assert load(conf)["training"]["seed"] == 0


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ("${oc.env:SEED}", ("training.seed", "oc.env", "credentials*.yml")),
        ("${oc.env:HOME}", ("training.seed", "oc.env", "credentials*.yml")),
        ("${training.sed}", ("training.seed", "'training.sed' not found")),
        ("${.seed}", ("training.seed", "Recursive")),
        ("'${training'", ("training.seed", "${training")),
        ("${runtime_params:seed}", ("training.seed", "seed")),
        ("!!int x", ("parameters", "'x'")),
    ],
    ids=["unset variable", "variable", "missing key", "circle", "unclosed", "missing runtime parameter", "wrong tag"],
)  # fmt: skip
def test_interpolation_that_cannot_be_resolved_is_one_line(conf, value, facts):
    (conf / "mine/parameters_training.yml").write_text(f"training:\n  seed: {value}\n")
    error = error_of(conf, "mine")
    assert all(fact in error for fact in facts), error


def test_key_in_two_files_of_a_folder_is_one_line(conf):
    for name in ("a", "b"):
        (conf / f"mine/parameters_{name}.yml").write_text("training: {seed: 1}\n")
    error = error_of(conf, "mine")
    assert all(fact in error for fact in ("parameters_a.yml", "parameters_b.yml", "training"))


def test_bombs_end_at_once_in_a_loader(conf):
    keys = "".join(f"k{n}: '${{k{n + 1}}}${{k{n + 1}}}'\n" for n in range(60))
    (conf / "mine/parameters_bomb.yml").write_text(keys + "k60: x\n")
    code = f"""
from kedro_dcgan.config_loader import OneLineConfigLoader
OneLineConfigLoader({str(conf)!r}, "mine", base_env="base")["parameters"]
"""
    # In its own process: a loader that resolves the bomb never ends.
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "ParameterError" in result.stderr
