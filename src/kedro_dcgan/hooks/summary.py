"""Say at the end how long it took, where the results are and what to type next."""

import logging
import shlex
import time
from collections.abc import Iterator
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.hooks.checks import checked_parameters, saved_at

logger = logging.getLogger(__name__)


class SummaryHooks:
    """Print the last lines of a run."""

    _LOOK_AT = (
        "manifest",
        "dataset_report",
        "generator",
        "evaluation_page",
        "sample_grid",
        "progress",
        "progress_video",
        "training_curves",
        "exported_generator",
    )

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember the parameters."""
        self._context = context

    @hook_impl
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Start the clock."""
        self._started, self._catalog = time.monotonic(), catalog

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline) -> None:
        """Print how long it took, where the results are and what comes next."""
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        made = [name for name in self._LOOK_AT if name in pipeline.all_outputs()]
        logger.info("\ndone in %d min %02d s", minutes, seconds)
        for name in made:
            logger.info("  %-20s %s", name.replace("_", " "), saved_at(self._catalog, name))
        if made:
            logger.info("next          %s", self._next_step(made[-1]))

    def _next_step(self, last_made: str) -> str:
        if last_made == "exported_generator":
            model = checked_parameters(self._context).export.registered_model
            sample = f"kedro dcgan sample --count 16 --seed 0 --output samples --model {model}@candidate"
            return f"kedro dcgan ui · {sample}"
        env = f" --env={self._context.env}" if self._context.env else ""
        following = {
            "dataset_report": "--pipelines=preprocessing,training,evaluation,export",
            "generator": "--pipelines=evaluation,export",
        }
        pipelines = following.get(last_made, "--pipelines=export")
        return f"kedro run{env} {pipelines}{_as_option(self._context._runtime_params or {})}"


def _as_option(runtime: dict[str, Any]) -> str:
    # What was said on the command line holds for one command: the next one must say it again.
    given = ",".join(f"{name}={value}" for name, value in _flat(runtime, ""))
    return f" --params {shlex.quote(given)}" if given else ""


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "null" if value is None else value
