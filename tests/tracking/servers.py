"""Real servers that tests start and stop."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import requests

from kedro_dcgan.tracking.connection import TrackingSettings


def settings_of(server, folder):
    """Return the settings of a project in a folder that uses a server."""
    return TrackingSettings(
        server=server,
        artifact_location=str(folder / "artifacts") if server.startswith("sqlite") else None,
        journals=folder / "journals",
        experiment="tests",
        run_name=None,
        system_metrics_seconds=0,
        ui_port=5000,
    )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class MlflowServer:
    """An MLflow server with a database in a folder. It can be killed and restarted."""

    def __init__(self, folder, database=None, options=()):
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.database = database or f"sqlite:///{folder}/server.db"
        self._options = options
        self._process = None

    def start(self):
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        places = ["--backend-store-uri", self.database, "--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._process = subprocess.Popen(
            [*command, *places, "--workers", "1", *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **quiet},
        )
        wait_until(self._answers, 60)
        return self

    def kill(self):
        """Kill the server and its workers."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self):
        with urllib.request.urlopen(f"{self.address}/health", timeout=1) as answer:
            return answer.status == 200


class HandledServer:
    """An HTTP server in this process."""

    def __init__(self, handler):
        handler.log_message = lambda *arguments: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        """Stop the server."""
        self._server.shutdown()


class FaultyServer(HandledServer):
    """Answers every request with the same status, after a delay."""

    def __init__(self, status, seconds=0.0):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(seconds)
                self.send_response(status)
                self.end_headers()

            do_POST = do_GET  # noqa: N815  (the base class's name)

        super().__init__(Handler)


class Proxy(HandledServer):
    """Forwards requests to a server.

    `own_answers`: statuses for HTTP methods that are not forwarded.
    `loses_once`: the path whose first response is lost.
    `first_answers`: for a path, the bodies of its first responses, with status 400.
    `times`: for a path, the time of each request.
    """

    def __init__(self, address, own_answers=(), loses_once=None, first_answers=()):
        to_lose = {loses_once}
        to_refuse = {path: list(bodies) for path, bodies in dict(first_answers).items()}
        self.times = times = defaultdict(list)

        class Handler(BaseHTTPRequestHandler):
            def _pass(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                times[self.path].append(time.monotonic())
                if to_refuse.get(self.path):
                    self._answer(400, to_refuse[self.path].pop(0).encode())
                    return
                if self.command in own_answers:
                    self._answer(own_answers[self.command])
                    return
                kept = {name: text for name, text in self.headers.items() if name != "Host"}
                url = address + self.path
                answer = requests.request(self.command, url, data=body, headers=kept, timeout=60)
                if self.path in to_lose:
                    to_lose.remove(self.path)
                    self._answer(503)
                    return
                self._answer(answer.status_code, answer.content)

            def _answer(self, status, content=b""):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815  (the base class's names)

        super().__init__(Handler)


def wait_until(holds, seconds):
    """Poll until a condition holds, or raise TimeoutError."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the condition did not hold within {seconds} s")


class PostgresServer:
    """Debian's PostgreSQL with a password and a new data folder, on this machine only."""

    PASSWORD = "not:a@secret"

    def __init__(self):
        self._programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.address = f"postgresql+psycopg://postgres:{quote(self.PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres"

    def start(self):
        """Create the database and start the server."""
        password = self._folder / "password"
        password.write_text(self.PASSWORD)
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            shutil.chown(self._folder, "postgres")
            shutil.chown(password, "postgres")
        options = ["--auth=scram-sha-256", "--username=postgres", f"--pwfile={password}"]
        self._run("initdb", *options, "-D", self._folder / "data")
        where = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "start", "-w", "-D", self._folder / "data", "-l", self._folder / "log", "-o", where)
        return self

    def stop(self):
        """Stop the server and delete its data."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._folder / "data")
        shutil.rmtree(self._folder)

    def _run(self, program, *arguments):
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_postgres, self._programs / program, *arguments]
        # No pipe: the server would keep it open.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
