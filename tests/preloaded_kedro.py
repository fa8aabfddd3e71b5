"""Many `kedro` commands, each in a process of its own, forked from one that has imported what takes seconds.

The project's own package is not imported before: each command imports that of its project. A small program stands
for `kedro`: it passes its arguments, folder, variables and outputs to the process that forks, passes signals on, and
ends as the command does.
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
    "mlflow.store.tracking.sqlalchemy_store",
    "onnxscript",
    "pandas",
    "torch._dynamo",  # which every optimiser imports
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
    """The process that forks. It ends when this one does: then its input ends."""

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
            # Read when torch is imported: before a command says how many threads it wants.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout.readline() == b"ready\n"


@functools.cache
def preloaded_kedro():
    """Start the process at its first use."""
    return PreloadedKedro()


def serve(address):
    """Fork for each request; return in the fork what is to run, and nothing at the end of the input."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    # Nobody waits for those that wait for commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection = listener.accept()[0]
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            return attend(connection)
        connection.close()
    return None


def attend(connection):
    """Fork once more, and answer with the process and then with its exit code; end it if nobody listens any more."""
    message, outputs, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not message.endswith(b"\n"):
        part = connection.recv(1 << 20)
        if not part:
            # Killed before it could say what is wanted.
            os._exit(1)
        message += part
    if not (pid := os.fork()):
        connection.close()
        return json.loads(message), outputs
    for output in outputs:
        os.close(output)
    connection.sendall(f"{pid}\n".encode())
    threading.Thread(target=end_with, args=(connection, pid), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(f"{code}\n".encode())
    os._exit(0)


def end_with(connection, pid):
    """Kill a process when the other end of a connection is closed."""
    connection.recv(1)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def become(request, outputs):
    """Let this process be as if it had been started anew."""
    for number, output in enumerate(outputs):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["kedro", *request["arguments"]]


def end(program):
    """Run a program and end as Python does, but for taking apart what was imported: that takes seconds."""
    code = 0
    try:
        program()
    except SystemExit as ending:
        code = ending.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    # The folder of this file would come before everything else.
    sys.path.remove(str(Path(__file__).parent))
    for name in HEAVY:
        __import__(name)
    # What forks share stays shared: no collection touches it.
    gc.freeze()
    request = serve(sys.argv[1])
    if request:
        become(*request)
    end(sys.modules["kedro.framework.cli.cli"].main if request else lambda: None)
