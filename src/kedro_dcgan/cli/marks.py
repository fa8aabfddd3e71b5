"""The command that reads the marks of generated images back (`model/synthetic_marks.py`)."""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click

from kedro_dcgan.cli.command import dcgan, project_folder
from kedro_dcgan.errors import DataError
from kedro_dcgan.model.synthetic_marks import SyntheticMark, read_mark

_EVALUATION, _MOST_BYTES = "data/08_reporting/evaluation.json", 4_000_000
_NAMES = {
    "tool": "made with",
    "weights": "weights",
    "model": "model",
    "training_id": "training",
    "dataset_digest": "images",
    "seed": "seed",
    "index": "index",
    "label": "class",
}


@dcgan.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def inspect(context: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Print the marks of generated images in PNG files.

    Exit code 1: a file has no mark, or is no intact PNG file. Anybody can remove a mark, or write a false one.
    """
    found: list[dict[str, object]] = []
    for file in files:
        try:
            mark = read_mark(file)
            found.append({"file": str(file), "mark": mark and asdict(mark)})
            if not as_json:
                click.echo("\n".join([_visible(str(file)), *_describe(mark)]))
        except DataError as error:
            found.append({"file": str(file), "error": str(error)})
            if not as_json:
                click.echo(f"Error: {_visible(str(error))}", err=True)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    context.exit(0 if all(one.get("mark") for one in found) else 1)


def _describe(mark: SyntheticMark | None) -> list[str]:
    if mark is None:
        return ["  no mark: its XMP metadata do not name a trained model"]
    lines = [f"  {'synthetic':<10} yes: trainedAlgorithmicMedia (IPTC DigitalSourceType)"]
    for field, name in _NAMES.items():
        value = getattr(mark, field)
        if value not in ("", None):
            note = " (this project's)" if field == "weights" and value == _evaluated_generator() else ""
            lines.append(f"  {name:<10} {_visible(str(value))}{note}")
    return lines


def _evaluated_generator() -> str | None:
    """Return the fingerprint of the generator that this project evaluated last; reading the weights takes seconds."""
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        file = project_folder() / _EVALUATION
        if file.stat().st_size <= _MOST_BYTES:
            fingerprint = json.loads(file.read_bytes()).get("generator")
            return fingerprint if isinstance(fingerprint, str) else None
    return None


def _visible(text: str) -> str:
    # A file can contain the escape sequences of a terminal.
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
