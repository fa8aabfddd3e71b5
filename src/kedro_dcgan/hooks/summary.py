"""Progress lines during a run, and its last lines: its duration, the paths of its results and the next command."""

import logging
import re
import shlex
import time
from pathlib import Path

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline.node import Node
from kedro.utils import is_kedro_project

from kedro_dcgan.config import as_param, dotted_values
from kedro_dcgan.experiments import is_in_copy, is_stage
from kedro_dcgan.hooks.checks import path_of
from kedro_dcgan.progress import Heartbeat
from kedro_dcgan.tracking.connection import read_settings
from kedro_dcgan.tracking.uploader import pending_journals

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
    "sweep_page",
    "exported_generator",
    "explorer_page",
    "directions",
    "discriminator_page",
)
# No command has to follow them.
_LAST = {"explorer_page", "directions", "discriminator_page"}


class SummaryHooks:
    """Log a line at least every 20 seconds, and the summary of a run."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep the context, for the parameters, and start the clock."""
        self._context, self._started = context, time.monotonic()
        self._saved: set[str] = set()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Note that this run has made a result: with `--only-missing-outputs`, it does not make all of them."""
        self._saved.add(dataset_name)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self) -> None:
        """Start the heartbeat. Kedro calls no hook after a signal: then it ends with the process, or the next run."""
        if previous := getattr(self, "_heartbeat", None):
            previous.close()
        self._heartbeat = Heartbeat()

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Name the current node to the heartbeat."""
        self._heartbeat.phase = node.name

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Stop the heartbeat."""
        self._heartbeat.close()

    @hook_impl(trylast=True)
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        """Log the duration, the results and the next command."""
        self._heartbeat.close()
        if not self._saved:
            logger.info(
                "nothing to do: all results exist already. Without --only-missing-outputs, they are made again."
            )
            return
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        results = [name for name in _RESULTS if name in self._saved]
        logger.info("\ndone in %d min %02d s", minutes, seconds)
        if is_in_copy(self._context.project_path):
            # DVC deletes this copy of the project when the experiment ends.
            return
        for name in results:
            logger.info("  %-20s %s", name.replace("_", " "), path_of(catalog, name))
        # DVC itself runs the stages that follow.
        if results and results[-1] not in _LAST and (not is_stage() or results[-1] == "exported_generator"):
            conf_source = Path(self._context.config_loader.conf_source)
            command = as_typed(self._next_command(results[-1]), self._context.project_path, conf_source)
            logger.info("next          %s", command)

    def _next_command(self, last_result: str) -> str:
        if last_result == "exported_generator":
            # Without `--model`, it takes the generator that was just exported, even if its registration is pending.
            sample = "kedro dcgan sample --count 16 --seed 0"
            is_pending = pending_journals(read_settings(self._context.config_loader["tracking"]))
            return f"{'kedro dcgan sync' if is_pending else 'kedro dcgan ui'} · {sample}"
        following = {
            "dataset_report": "preprocessing,training,evaluation,export",
            "generator": "evaluation,export",
            "sweep_page": "evaluation,export",
        }
        env = f" --env={self._context.env}" if self._context.env else ""
        # `--params` applies to one command only, so the next command repeats it.
        values = dotted_values(self._context.config_loader.runtime_params)
        given = ",".join(f"{name}={as_param(value)}" for name, value in values.items())
        params = f" --params {shlex.quote(given)}" if given else ""
        return f"kedro run{env} --pipelines={following.get(last_result, 'export')}{params}"


def as_typed(text: str, project: Path, conf_source: Path) -> str:
    """Return a text with its commands as the user types them: without the project folder, `kedro-dcgan VERB`.

    A configuration other than `conf` of the project is repeated: `--conf-source=…`.
    """
    option = "" if conf_source == project / "conf" else f" {shlex.quote(f'--conf-source={conf_source}')}"
    is_project = is_kedro_project(project)
    return re.sub(
        r"\bkedro (?:dcgan )?([a-z][\w-]+)",
        lambda found: f"{found[0] if is_project else f'kedro-dcgan {found[1]}'}{option}",
        text,
    )
