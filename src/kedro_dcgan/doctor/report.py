"""The report of an examination: lines for people, JSON for programs, and both as files to attach to an issue."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kedro_dcgan import __version__
from kedro_dcgan.doctor.examination import Result
from kedro_dcgan.doctor.isolation import Outcome
from kedro_dcgan.storage import atomic_file

TEXT, JSON = "doctor.txt", "doctor.json"
_TITLES = {
    "machine": "This machine",
    "choices": "Choices, for a training of ten minutes of the standard DCGAN (64x64 RGB, width 64)",
    "checks": "Checks",
    "speed": "Speed of the standard DCGAN",
}
# The sections whose results are neither right nor wrong.
FACTS = ("machine", "choices")
_SIGNS = {"passed": "✓", "failed": "✗", "skipped": "–"}


@dataclass(frozen=True)
class Report:
    """The results of an examination that began at `date`, in the order in which they were found.

    One that is not complete was stopped by Ctrl-C.
    """

    date: datetime
    seconds: float
    results: Sequence[Result]
    is_complete: bool = True

    @property
    def failed(self) -> list[str]:
        """The names of the failed checks and measurements."""
        return [result.name for result in self.results if result.outcome.status == "failed"]

    def summary(self) -> str:
        """Return the numbers of passed, failed and skipped checks and measurements, and the time."""
        examined = [one.outcome.status for one in self.results if one.section not in FACTS]
        counts = [f"{examined.count(status)} {status}" for status in _SIGNS if status in examined]
        minutes, seconds = divmod(round(self.seconds), 60)
        stopped = "" if self.is_complete else "stopped: "
        return f"{stopped}{', '.join(counts) or 'nothing was checked'} in {minutes} min {seconds} s"

    def details(self) -> Iterator[str]:
        """Yield the log and the output of each failure that has any."""
        for result in self.results:
            found = [text.rstrip() for text in (*result.outcome.log, result.outcome.output) if text]
            if result.outcome.status == "failed" and found:
                yield from ("", f"{result.name}: {result.outcome.summary}", *found)

    def ending(self, folder: Path | None) -> Iterator[str]:
        """Yield the last lines for the console, after those of the results."""
        yield from (*self.details(), "", f"done          {self.summary()}")
        if folder:
            yield f"report        {folder / TEXT} · {folder / JSON}"
        elif self.failed:
            yield "next          kedro dcgan doctor --output report, and attach its files to an issue"

    def text(self) -> str:
        """Return all lines, for a file."""
        title = f"kedro-dcgan {__version__} doctor, {self.date:%Y-%m-%d %H:%M} UTC"
        return "\n".join([title, *lines_of(self.results), *self.details(), "", self.summary(), ""])

    def json(self) -> str:
        """Return the report as JSON: by section and name, a fact as text, or an outcome with its values."""
        content: dict[str, Any] = {
            "format": 1,
            "version": __version__,
            "date": self.date.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "complete": self.is_complete,
            "failed": self.failed,
        }
        for result in self.results:
            is_fact = result.section in FACTS and result.outcome.status == "passed"
            content.setdefault(result.section, {})[result.name] = (
                result.outcome.summary if is_fact else _as_json(result.outcome)
            )
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def write(self, folder: Path) -> None:
        """Write both files into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((TEXT, self.text()), (JSON, self.json())):
            with atomic_file(folder / name) as file:
                file.write_text(content, encoding="utf-8")


def _as_json(outcome: Outcome) -> dict[str, Any]:
    values = asdict(outcome.value) if is_dataclass(outcome.value) and not isinstance(outcome.value, type) else None
    content = {**asdict(replace(outcome, value=None)), "value": values, "seconds": round(outcome.seconds, 2)}
    return {name: value for name, value in content.items() if value not in (None, [], "")}


def lines_of(results: Iterable[Result]) -> Iterator[str]:
    """Yield the lines of results as they come, with a title before each section."""
    section = ""
    for result in results:
        if result.section != section:
            section = result.section
            yield from ("", _TITLES[section])
        outcome = result.outcome
        is_fact = section in FACTS and outcome.status == "passed"
        taken = f"  [{outcome.seconds:.1f} s]" if section == "checks" else ""
        yield f"{' ' if is_fact else _SIGNS[outcome.status]} {result.name:<16} {outcome.summary}{taken}"


def report_of(results: Sequence[Result], started: float, is_complete: bool) -> Report:
    """Return the report of an examination that began at `started`, by `time.perf_counter`."""
    seconds = time.perf_counter() - started
    return Report(datetime.fromtimestamp(time.time() - seconds, UTC), seconds, results, is_complete)
