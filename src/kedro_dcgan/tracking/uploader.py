"""The thread that sends journals: first that of the run under way, record by record, then what others have left.

Training never waits for it. It imports mlflow itself, which takes seconds, and what goes wrong at the server is its own
affair: it tries again, at first after a second, at last once a minute.
"""

import contextlib
import logging
import threading
import time

from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.settings import TrackingSettings, in_one_line

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# At the end, a record may take so long; one that takes longer is left to the next run.
_PATIENCE = 60.0
# And so long it waits for another process that sends the same records.
_LOCK_PATIENCE = 20.0


class Sender:
    """Sends `journal` from `start` to `finish`; and the others beside it, until `finish`."""

    def __init__(self, journal: Journal, settings: TrackingSettings) -> None:
        self._journal, self._settings = journal, settings
        self._news, self._is_ending = threading.Event(), threading.Event()
        self._moved = time.monotonic()
        self._given_up: set[str] = set()
        self._has_warned = False
        self._answers: list[str] = []
        self._thread = threading.Thread(target=self._work, name="mlflow-sender", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def notify(self) -> None:
        """Say that there is a new record."""
        self._news.set()

    def finish(self) -> bool:
        """Wait until the journal is sent, or the server fails, or does not get on; tell whether it is sent."""
        self._moved = time.monotonic()
        self._is_ending.set()
        self._news.set()
        while self._thread.is_alive() and time.monotonic() - self._moved < _PATIENCE:
            self._thread.join(0.05)
        return self._journal.is_all_sent(self._settings.shown_server)

    @property
    def answers(self) -> tuple[str, ...]:
        """What the server has answered that people want to hear."""
        return tuple(self._answers)

    def _work(self) -> None:
        failures = 0
        while True:
            self._news.clear()
            is_last_time = self._is_ending.is_set()
            try:
                self._connect()
                for journal in self._before():
                    self._send(journal)
                self._send(self._journal, _LOCK_PATIENCE if is_last_time else 0)
            except Exception as error:
                failures += 1
                self._warn(error)
                if not is_last_time:
                    self._is_ending.wait(min(_FIRST_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE))
                elif failures == 1:
                    # A server that was well until now may only have stumbled.
                    time.sleep(_FIRST_PAUSE)
                else:
                    return
                continue
            failures = 0
            if is_last_time:
                return
            # What can go wrong with others is none of this run's affair.
            with contextlib.suppress(OSError):
                self._send_left_behind()
            self._news.wait()

    def _connect(self) -> None:
        from kedro_dcgan.tracking.settings import connect

        connect(self._settings)

    def _before(self) -> list[Journal]:
        # What is added to a run comes after what its training, and others since, have had to tell.
        identity = self._journal.identity
        left = journals_left_behind(self._settings) if identity.must_exist else []
        return [one for one in left if one.identity.key == identity.key and one.folder != self._journal.folder]

    def _send(self, journal: Journal, patience: float = 0, gives_way: bool = False) -> None:
        from kedro_dcgan.tracking.delivery import send_all

        for delivered in send_all(journal, self._settings, patience):
            self._moved = time.monotonic()
            self._answers += delivered.answers
            # The run under way comes first, always.
            if gives_way and self._news.is_set():
                return

    def _send_left_behind(self) -> None:
        for journal in journals_left_behind(self._settings):
            if self._news.is_set():
                return
            name = journal.folder.name
            if name in (*self._given_up, self._journal.folder.name):
                continue
            try:
                self._send(journal, gives_way=True)
            except Exception as error:
                # Once is enough: it must hold up neither the others nor the run under way.
                self._given_up.add(name)
                logger.warning("Records in %s are not sent (%s).", journal.folder, in_one_line(error))

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            logger.warning(
                "MLflow at %s takes no records (%s). The run goes on; they are in %s and will be sent later.",
                self._settings.shown_server,
                in_one_line(error),
                self._journal.folder,
            )
        self._has_warned = True


def journals_left_behind(settings: TrackingSettings, with_those_elsewhere: bool = False) -> list[Journal]:
    """Return the journals of which the server does not have all, the oldest first.

    Those that another server has been sent are left out, unless they are asked for.
    """
    server = settings.shown_server
    return [
        journal
        for journal in Journal.all_in(settings.journals)
        if not journal.is_all_sent(server) and (with_those_elsewhere or not journal.is_elsewhere(server))
    ]
