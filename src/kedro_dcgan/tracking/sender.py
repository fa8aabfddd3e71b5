"""The thread that sends journals: first that of the run under way, record by record, then what others have left.

Training never waits for it. It imports mlflow itself, which takes seconds, and what goes wrong at the server is its own
affair: it tries again, at first after a second, at last once a minute.
"""

import logging
import threading
import time

from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.settings import TrackingSettings, masked

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# At the end, a record may take so long; one that takes longer is left to the next run.
_PATIENCE = 60.0


class Sender:
    """Sends `journal`, and the others beside it, from `start` to `finish`."""

    def __init__(self, journal: Journal, settings: TrackingSettings) -> None:
        self._journal, self._settings = journal, settings
        self._news, self._is_ending = threading.Event(), threading.Event()
        self._moved = time.monotonic()
        self._has_warned = False
        self._thread = threading.Thread(target=self._work, name="mlflow-sender", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def notify(self) -> None:
        """Say that there is a new record."""
        self._news.set()

    def finish(self) -> bool:
        """Wait until all is sent, or the server fails, or does not get on; tell whether all is sent."""
        self._moved = time.monotonic()
        self._is_ending.set()
        self._news.set()
        while self._thread.is_alive() and time.monotonic() - self._moved < _PATIENCE:
            self._thread.join(0.05)
        return self._journal.is_all_sent(self._settings.shown_server)

    def _work(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._news.clear()
            is_last_time = self._is_ending.is_set()
            try:
                self._send()
                pause = _FIRST_PAUSE
            except Exception as error:
                self._warn(error)
                if is_last_time:
                    return
                self._is_ending.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if is_last_time:
                return
            self._news.wait()

    def _send(self) -> None:
        from kedro_dcgan.tracking.delivery import connect, send_all

        connect(self._settings)
        for journal in (self._journal, *self._left_behind()):
            for _ in send_all(journal, self._settings):
                self._moved = time.monotonic()
                # The run under way comes first, always.
                if journal is not self._journal and self._news.is_set():
                    return

    def _left_behind(self) -> list[Journal]:
        server = self._settings.shown_server
        others = [one for one in Journal.all_in(self._journal.folder.parent) if one.folder != self._journal.folder]
        return [one for one in others if not one.is_all_sent(server)]

    def _warn(self, error: Exception) -> None:
        said = masked(" ".join(str(error).split())[:300])
        if not self._has_warned:
            logger.warning(
                "MLflow at %s takes no records (%s). The run goes on; they are in %s and will be sent later.",
                self._settings.shown_server,
                said,
                self._journal.folder,
            )
        self._has_warned = True
