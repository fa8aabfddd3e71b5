"""A fork server for `kedro` commands: every command is forked from a process that has imported the slow packages.

The server does not import the project's own package: each command imports the copy in its project. A small program
replaces `kedro`. It sends its arguments, working directory, environment and outputs to the server, forwards signals
and returns the command's exit code.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

HEAVY = (
    "av",
    "efficientnet_lite_pytorch",
    "imagecodecs",
    "kedro.framework.cli.cli",
    "kedro.runner",
    "matplotlib.figure",
    "mlflow",
    "mlflow.pyfunc.model",
    "mlflow.store.tracking.sqlalchemy_store",
    "onnxscript.function_libs.torch_lib.ops",
    "pandas",
    "scipy.stats",
    "torch._dynamo",  # every optimiser imports it
    "torch._inductor.ir",  # exports need it
    "torch.export._trace",
    "torch.onnx._internal.exporter._core",
    "torchvision",
)

PROGRAM = """#!{python} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = {{"arguments": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
answers = server.makefile()
command = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(command, number))
code = int(answers.readline())
sys.exit(code if code >= 0 else 128 - code)
"""


class PreloadedKedro:
    """The fork server. It exits when this process does, because its stdin is then closed."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="kedro-")
        self.folder = Path(self._folder.name)
        address = str(self.folder / "socket")
        self.program = self.folder / "kedro"
        self.program.write_text(PROGRAM.format(python=sys.executable, address=address))
        self.program.chmod(0o755)
        self._process = subprocess.Popen(
            [sys.executable, __file__, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # torch reads it at import, before a command sets its own number of threads.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout.readline() == b"ready\n"


@functools.cache
def preloaded_kedro():
    """Return the fork server; the first call starts it."""
    return PreloadedKedro()


def serve(address):
    """Fork for each connection. Return the request in the fork, and None in the server when stdin is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    # The forks are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection = listener.accept()[0]
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            return handle_request(connection)
        connection.close()
    return None


def handle_request(connection):
    """Fork the process of the command and return the request there; send its process id and exit code to the client."""
    message, outputs, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not message.endswith(b"\n"):
        part = connection.recv(1 << 20)
        if not part:
            # The client was killed before it had sent its request.
            os._exit(1)
        message += part
    if not (pid := os.fork()):
        connection.close()
        return json.loads(message), outputs
    for output in outputs:
        os.close(output)
    connection.sendall(f"{pid}\n".encode())
    threading.Thread(target=kill_on_disconnect, args=(connection, pid), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(f"{code}\n".encode())
    os._exit(0)


def kill_on_disconnect(connection, pid):
    """Kill a process when the client closes the connection."""
    connection.recv(1)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def apply_request(request, outputs):
    """Take over the outputs, environment, working directory and arguments of a request."""
    for number, output in enumerate(outputs):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["kedro", *request["arguments"]]


def run_and_exit(program):
    """Run a program and exit like Python, but without the teardown of the imported modules, which takes seconds."""
    code = 0
    try:
        program()
    except SystemExit as exiting:
        code = exiting.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    # Otherwise the folder of this file would be first on the import path.
    sys.path.remove(str(Path(__file__).parent))
    for name in HEAVY:
        __import__(name)
    # Keep the imported objects out of garbage collection, so that forks continue to share their memory.
    gc.freeze()
    request = serve(sys.argv[1])
    if request:
        apply_request(*request)
    run_and_exit(sys.modules["kedro.framework.cli.cli"].main if request else lambda: None)
