"""The last lines of a run: its duration, the paths of its results and the next command."""

import logging
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.utils import is_kedro_project

from kedro_dcgan.hooks.checks import checked_parameters, path_of

logger = logging.getLogger(__name__)

# The results worth opening, in the order in which a run writes them.
_RESULTS = (
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


class SummaryHooks:
    """Log the summary of a run."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep the context, for the parameters, and start the clock."""
        self._context, self._started = context, time.monotonic()

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Log the duration, the results and the next command."""
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        results = [name for name in _RESULTS if name in pipeline.all_outputs()]
        logger.info("\ndone in %d min %02d s", minutes, seconds)
        for name in results:
            logger.info("  %-20s %s", name.replace("_", " "), path_of(catalog, name))
        if results:
            logger.info("next          %s", self._as_typed(self._next_command(results[-1])))

    def _next_command(self, last_result: str) -> str:
        if last_result == "exported_generator":
            model = checked_parameters(self._context).export.registered_model
            sample = f"kedro dcgan sample --count 16 --seed 0 --output samples --model {model}@candidate"
            return f"kedro dcgan ui · {sample}"
        following = {"dataset_report": "preprocessing,training,evaluation,export", "generator": "evaluation,export"}
        env = f" --env={self._context.env}" if self._context.env else ""
        # `--params` applies to one command only, so the next command repeats it.
        given = ",".join(f"{name}={value}" for name, value in _dotted(self._context.config_loader.runtime_params))
        params = f" --params {shlex.quote(given)}" if given else ""
        return f"kedro run{env} --pipelines={following.get(last_result, 'export')}{params}"

    def _as_typed(self, command: str) -> str:
        """Return commands as a user without the project folder types them: `kedro-dcgan VERB --conf-source=…`."""
        if is_kedro_project(self._context.project_path):
            return command
        conf = Path(self._context.config_loader.conf_source)
        is_default = conf == self._context.project_path / "conf"
        option = "" if is_default else f" {shlex.quote(f'--conf-source={conf}')}"
        return re.sub(r"\bkedro (?:dcgan )?([\w-]+)", lambda found: f"kedro-dcgan {found[1]}{option}", command)


def _dotted(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "null" if value is None else value
