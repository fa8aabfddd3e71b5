"""`kedro run` without work: options that work, options that are refused in one line, and the edge for errors."""

from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError
from kedro.framework.project import configure_project
from kedro.io import DatasetError

from kedro_dcgan.errors import DataError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def _configured():
    configure_project("kedro_dcgan")


@pytest.fixture
def command(monkeypatch):
    """Return a function that runs `kedro run` up to Kedro's own function, and its arguments there."""
    from kedro_dcgan.cli.kedro_run import run

    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    started = []
    monkeypatch.setattr(kedro_run, "callback", lambda **options: started.append(SimpleNamespace(**options)))

    def invoke(*arguments, fails_with=None):
        def fail(**_):
            raise fails_with

        if fails_with:
            monkeypatch.setattr(kedro_run, "callback", fail)
        started.clear()
        result = CliRunner().invoke(run, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result, started[0] if started else None

    return invoke


REFUSED = {
    "another runner": ("--runner=ParallelRunner", "`--runner`", "SequentialRunner", "(got ParallelRunner)"),
    "threads": ("--runner=ThreadRunner", "SequentialRunner", "(got ThreadRunner)"),
    "unknown runner": ("--runner=Fast", "SequentialRunner", "(got Fast)"),
    "async": ("--async", "`--async`"),
    "async by parameter": ("--runner-params=is_async=true", "`--async`"),
    "workers of the runner": ("--runner-params=max_workers=4", "`--runner-params`", "max_workers"),
    "version of a dataset without versions": (
        "--load-versions=generator:2024-01-01T00.00.00.000Z",
        "`--load-versions`",
        "versioned: true",
        "(got generator:2024",
    ),
    "version of an unknown dataset": ("--load-versions=banana:2024", "`--load-versions`", "(got banana:2024)"),
    "malformed version": ("--load-versions=generator", "found generator"),
    "unknown tag": ("--tags=banana", "`--tags`", "(got banana)", "Known here: "),
    "misspelt node": ("--nodes=train_generatr", "`--nodes`", "Did you mean train_generator?", "scan_images"),
    "unknown first node": ("--from-nodes=banana", "`--from-nodes`", "(got banana)", "train_generator"),
    "unknown last node": ("--to-nodes=scan_images,banana", "`--to-nodes`", "(got banana)"),
    "node of another pipeline": (
        "--pipelines=export --nodes=scan_images",
        "`--nodes`",
        "(got scan_images)",
        "export_samples",
    ),
    "unknown input": ("--from-inputs=banana", "`--from-inputs`", "(got banana)", "manifest"),
    "unknown output": ("--to-outputs=banana", "`--to-outputs`", "(got banana)", "manifest"),
    "output that is an input": ("--to-outputs=raw_images", "`--to-outputs`", "(got raw_images)"),
    "unknown namespace": ("--namespaces=banana", "`--namespaces`", "(got banana)"),
    "selections without a common node": (
        "--nodes=scan_images --from-nodes=train_generator",
        "`--from-nodes, --nodes`",
        "select none",
    ),
    "node without its start": ("--nodes=train_generator", "start_training", "`training_start`"),
    "start in the middle": ("--from-nodes=train_generator", "start_training", "`training_start`"),
    "comma in a path": ("--params ingestion.source=/a,b/c", "(got 'b/c')", """'ingestion.source="a,b"'"""),
    "parameter without a value": ("--params training.epochs", "KEY=VALUE", "(got 'training.epochs')"),
    "parameter without a key": ("--params =3", "KEY=VALUE", "(got '=3')"),
    "dot at the end": ("--params training.=3", "KEY=VALUE"),
    "unclosed bracket": ("--params training.generator.betas=[0.5,0.9", "`training.generator.betas`", "brackets"),
    "value and group": ("--params training=3,training.epochs=3", "`training`", "Remove one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_option_is_refused_in_one_line_before_any_work(command, case):
    arguments, *facts = REFUSED[case]
    result, started = command(*arguments.split())
    assert (result.exit_code, started) == (1, None), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert all(fact in result.stderr for fact in facts), result.stderr


def test_options_that_work_reach_kedro(command):
    assert command("--runner=SequentialRunner", "--runner-params=is_async=false")[1].runner == "SequentialRunner"
    assert command("--runner=kedro.runner.SequentialRunner")[1]
    assert command("--from-nodes=start_training", "--to-nodes=report_evaluation")[1].from_nodes == [
        "training.start_training"
    ]
    assert command("--nodes=evaluate_generator,report_evaluation", "--pipelines=evaluate")[1].pipelines == ["evaluate"]
    given = command("--nodes=inspect_discriminator", "--pipelines=explore")[1]
    assert given.node_names == ["explore.inspect_discriminator"]
    assert command("--to-outputs=manifest", "--only-missing-outputs")[1].only_missing_outputs
    assert command("--from-inputs=manifest")[1].from_inputs == ["manifest"]
    # Kedro reports an unknown pipeline itself.
    assert command("--pipelines=banana", "--tags=x")[1]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("training.epochs=3,training.seed=1", {"training": {"epochs": 3, "seed": 1}}),
        ("a.betas=[0.5, 0.9],b=1", {"a": {"betas": [0.5, 0.9]}, "b": 1}),
        ('a="x, y",b=1', {"a": "x, y", "b": 1}),
        ("a='it''s, ok',b=''", {"a": "it's, ok", "b": ""}),
        ('a="say \\"hi\\", then",b=1', {"a": 'say "hi", then', "b": 1}),
        ('a=["x,y",z]', {"a": ["x,y", "z"]}),
        ("a=it's,b=1", {"a": "it's", "b": 1}),
        ("a=my: photos", {"a": "my: photos"}),
        ("a=photos #1", {"a": "photos #1"}),
        ("a=%HOME%/x,b=@x,c=*x", {"a": "%HOME%/x", "b": "@x", "c": "*x"}),
        ("a=C:\\Users\\me", {"a": "C:\\Users\\me"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=/x (1)/[2024]", {"a": "/x (1)/[2024]"}),
        ("a= 3 , b = null", {"a": 3, "b": None}),
        ("a=1e-4,b=true,c=03", {"a": 1e-4, "b": True, "c": 3}),
        ("a=", {"a": None}),
        ("a=1,", {"a": 1}),
        ("", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_params_are_split_at_commas_outside_of_quotes_and_brackets(command, text, values):
    assert command("--params", text)[1].params == values


def test_config_file_holds_options(command, tmp_path):
    file = tmp_path / "run.yml"
    file.write_text("run:\n  env: smoke\n  pipelines: [ingestion, preprocessing]\n  params: {training: {epochs: 2}}\n")
    started = command("--config", str(file))[1]
    assert (started.env, started.pipelines) == ("smoke", ["ingestion", "preprocessing"])
    assert started.params == {"training": {"epochs": 2}}
    for content, fact in (("a: 1", "`run`"), ("run: 3", "(got 3)"), ("run:\n\tx: 1", "line 2"), ("run: {x: 1}", "`x`")):
        file.write_text(content)
        result, started = command("--config", str(file))
        assert (result.exit_code, started, result.stderr.count("\n")) == (1, None, 1), result.stderr
        assert fact in result.stderr
    assert command("--config", str(tmp_path / "nowhere.yml"))[0].exit_code == 2


def test_usage_errors_keep_exit_code_2(command):
    for arguments in (["--banana"], ["--conf-source=/nowhere"], ["surplus"]):
        assert command(*arguments)[0].exit_code == 2


def saved_traceback(line):
    file = Path(line.partition("traceback, ")[2].partition(" ")[0])
    text = file.read_text()
    file.unlink()
    return text


def test_unexpected_error_is_one_line_and_its_traceback_is_saved(command):
    error = ZeroDivisionError("two\nlines")
    result, _ = command(fails_with=error)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: unexpected ZeroDivisionError: two lines.")
    assert result.stderr.count("\n") == 1
    assert "Traceback" in saved_traceback(result.stderr)
    verbose, _ = command("--verbose", fails_with=error)
    assert "Traceback (most recent call last)" in verbose.stderr
    saved_traceback(verbose.stderr)
    assert verbose.stderr.splitlines()[-1].startswith("Error: unexpected ZeroDivisionError")


def test_cause_of_a_kedro_error_is_reported(command):
    for cause, fact in (
        (DataError("`a` must be b (got c). Fix it."), "Error: `a` must be b (got c). Fix it.\n"),
        (KedroCliError("Options '--pipeline' and '--pipelines' cannot"), "Error: Options '--pipeline' and"),
        (PermissionError(13, "Permission denied", "/data/x"), "`/data/x` must be usable (Permission denied)"),
    ):
        error = cause if isinstance(cause, KedroCliError) else DatasetError("Failed while saving data to dataset X.")
        error.__cause__ = None if error is cause else cause
        result, _ = command(fails_with=error)
        assert result.exit_code == 1
        assert fact in result.stderr
        assert result.stderr.count("\n") == 1
        verbose = command("--verbose", fails_with=error)[0].stderr
        assert type(error).__name__ in verbose
        assert fact in verbose


def test_kedro_explains_a_misspelt_pipeline_and_a_wrong_catalog_entry(command):
    for error in (
        ValueError("Failed to find the pipeline named 'x'. Did you mean one of these instead?\n    y"),
        DatasetError("An exception occurred when parsing config for dataset 'x':\nNo module named 'no'."),
    ):
        lines = command(fails_with=error)[0].stderr.splitlines()
        assert lines == ["Error: " + " ".join(part.strip() for part in str(error).splitlines())]


def test_closed_stdout_and_click_exceptions_pass_the_edge():
    from kedro_dcgan.cli.command import errors_in_one_line

    for error in (BrokenPipeError(32, "Broken pipe"), click.Abort(), click.exceptions.Exit(3), click.UsageError("x")):
        with pytest.raises(type(error)), errors_in_one_line():
            raise error


@pytest.mark.parametrize(
    ("command_line", "option"),
    [
        ("sample --output /proc/x", "--output"),
        ("sample --output LICENSE/x", "--output"),
        ("compare --report /proc/x/page.html", "--report"),
        ("profile --trace /proc/trace.json", "--trace"),
        (f"sample --output {'x' * 300}", "--output"),
    ],
    ids=["folder", "below a file", "page", "trace", "long name"],
)
def test_output_that_cannot_be_written_is_refused_before_any_work(command, command_line, option):
    from kedro_dcgan.cli.command import dcgan

    result = CliRunner().invoke(dcgan, command_line.split())
    assert result.exit_code == 1
    assert f"`{option}` must be writable" in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_command_of_the_project_has_verbose(command, monkeypatch):
    from kedro_dcgan.cli import local
    from kedro_dcgan.cli.command import dcgan

    for name in dcgan.commands:
        assert "--verbose" in CliRunner().invoke(dcgan, [name, "--help"]).output

    def fail(env):
        raise ZeroDivisionError("x")

    monkeypatch.setattr(local, "parameters_of", fail)
    for arguments in (["describe"], ["describe", "--verbose"]):
        result = CliRunner().invoke(dcgan, arguments)
        assert result.exit_code == 1
        assert ("Traceback (most" in result.stderr) == ("--verbose" in arguments)
        saved_traceback(result.stderr)


def test_preset_is_a_folder_of_the_given_source(command, tmp_path, monkeypatch):
    from kedro_dcgan.cli.command import config_loader, dcgan, use_conf_source

    (tmp_path / "conf/mine").mkdir(parents=True)
    (tmp_path / "conf/base").mkdir()
    use_conf_source(str(tmp_path / "conf"))
    assert config_loader("mine").env == "mine"
    monkeypatch.setenv("KEDRO_ENV", "banana")
    result = CliRunner().invoke(dcgan, ["describe"])
    assert result.exit_code == 1
    assert all(fact in result.stderr for fact in ("`--env`", "(got banana)", "smoke"))
    monkeypatch.setenv("KEDRO_ENV", "paper")
    assert config_loader(None)["parameters"]["training"]["batch_size"] == 128


@pytest.mark.parametrize(
    "value",
    ["2024", "true", "null", "a, b", "it's", "a: b", "#1", "", " x", "~/photos", None, 0.5, [1, 2], ["a", "b,c"]],
)
def test_suggested_parameters_are_read_as_they_were_given(value):
    from kedro_dcgan.cli.params import split_params
    from kedro_dcgan.config import as_param

    assert split_params(None, None, f"a.b={as_param(value)},c=1") == {"a": {"b": value}, "c": 1}


def test_configuration_at_an_address_is_refused(command):
    from kedro_dcgan.cli.command import dcgan

    result = CliRunner().invoke(dcgan, ["describe", "--conf-source=s3://bucket/conf"])
    assert result.exit_code == 1
    assert "(got s3://bucket/conf)" in result.stderr
