"""Say at the end how long it took, where the results are and what to type next."""

import logging
import time

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.hooks.runs import saved_at

logger = logging.getLogger(__name__)


class SummaryHooks:
    """Print the last lines of a run."""

    _LOOK_AT = ("sample_grid", "progress", "training_curves", "exported_generator")

    @hook_impl
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Start the clock."""
        self._started, self._catalog = time.monotonic(), catalog

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline) -> None:
        """Print the last lines."""
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        made = [name for name in self._LOOK_AT if name in pipeline.all_outputs()]
        logger.info("\ndone in %d min %02d s", minutes, seconds)
        for name in made:
            logger.info("  %-20s %s", name.replace("_", " "), saved_at(self._catalog, name))
        if made:
            logger.info("next          kedro mlflow ui · kedro dcgan sample --count 16 --seed 0 --output samples")
