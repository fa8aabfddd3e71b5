"""`python -m kedro_dcgan.doctor` examines this machine, without Kedro, MLflow and DVC; `kedro dcgan doctor` runs it."""

import argparse
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kedro_dcgan.console import set_up_console
from kedro_dcgan.doctor import DEVICES, MINUTES, PARTS
from kedro_dcgan.doctor.examination import Examination, Result
from kedro_dcgan.doctor.report import FACTS, Report, lines_of, report_of
from kedro_dcgan.errors import DcganError
from kedro_dcgan.storage import require_writable


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine, print the report, and return an exit code: 1 if a check has failed or the examination is impossible."""
    options = _parser().parse_args(arguments)
    set_up_console()
    # Without a handler, Python would print warnings of the package between the lines.
    logging.getLogger("kedro_dcgan").addHandler(logging.NullHandler())
    try:
        if options.output:
            require_writable(options.output, options.output)
        report = _examine(options)
        if options.output:
            report.write(options.output)
    except DcganError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(report.json() if options.json else "\n".join(report.ending(options.output)))
    if not report.is_complete:
        # As a shell expects after Ctrl-C.
        return 130
    return 1 if report.failed else 0


def _examine(options: argparse.Namespace) -> Report:
    """Examine until the end or Ctrl-C, and print each result as soon as it is known, unless JSON was asked for."""
    examination, results = Examination(options.device, options.only or PARTS, options.minutes), list[Result]()
    layout = "{desc:<18} {n_fmt} of {total_fmt} |{bar:28}| {elapsed}"
    is_hidden = True if options.json else None
    with tqdm(total=examination.length, bar_format=layout, leave=False, disable=is_hidden) as bar, _ticking(bar):

        def collected() -> Iterator[Result]:
            for result in examination.results(bar.set_description):
                results.append(result)
                if result.section not in FACTS:
                    bar.update()
                yield result

        is_complete = False
        with suppress(KeyboardInterrupt):
            for line in lines_of(collected()):
                if not options.json:
                    bar.write(line)
            is_complete = True
    return report_of(results, examination.started, is_complete)


@contextmanager
def _ticking(bar: "tqdm[Any]") -> Iterator[None]:
    """Show the time in a bar each second, because a check can take a minute."""
    is_over = threading.Event()

    def refresh() -> None:
        while not is_over.wait(1):
            bar.refresh()

    threading.Thread(target=refresh, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kedro_dcgan.doctor", description="Check and measure this machine.")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="device to examine; auto: the fastest")
    limits = ", ".join(f"{minutes:g} ({device})" for device, minutes in MINUTES.items())
    parser.add_argument("--minutes", type=_minutes, help=f"limit; what would exceed it is not measured: {limits}")
    parser.add_argument("--only", choices=PARTS, action="append", help="part to run; can be given several times")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--output", type=Path, help="folder to write the report to, as text and as JSON")
    return parser


def _minutes(text: str) -> float:
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"must be more than 0 (got {text})")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
