"""Many `kedro` commands, each in a process of its own, forked from one that has imported what takes seconds.

The project's own package is not imported before: each command imports that of its project.
"""

import atexit
import functools
import gc
import json
import os
import select
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


class PreloadedKedro:
    """The process that forks. It ends when this one does: then its input ends."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # whether there is an answer is asked of the pipe
            # Read when torch is imported: before a command says how many threads it wants.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, *arguments, cwd, env):
        """Run `kedro` with these arguments; return its result with output and errors as text."""
        started = self.start(*arguments, cwd=cwd, env=env)
        return subprocess.CompletedProcess(arguments, started.wait(), *started.outputs())

    def start(self, *arguments, cwd, env):
        """Start `kedro` with these arguments; it must have ended before the next one begins."""
        request = {"arguments": arguments, "cwd": str(cwd), "env": env, "outputs": list(map(str, self._outputs))}
        self._process.stdin.write(f"{json.dumps(request)}\n".encode())
        return Started(int(self._process.stdout.readline()), self._process.stdout, self._outputs)


class Started:
    """A command under way."""

    def __init__(self, pid, answers, outputs):
        self.pid, self._answers, self._outputs = pid, answers, outputs
        self._code = None

    def poll(self):
        """Return the exit code, or nothing as long as there is none."""
        return self.wait() if select.select([self._answers], [], [], 0)[0] else self._code

    def wait(self):
        """Return the exit code when it is there."""
        if self._code is None:
            self._code = int(self._answers.readline())
        return self._code

    def send_signal(self, number):
        """Send it a signal."""
        os.kill(self.pid, number)

    def outputs(self):
        """Return what it has said so far on standard output and on standard error."""
        return [path.read_text() for path in self._outputs]


@functools.cache
def preloaded_kedro():
    """Start the process at its first use."""
    return PreloadedKedro()


def serve():
    """Fork for each line of the input; answer with the process and the exit code; return in the fork what is to run."""
    for line in sys.stdin:
        if not (pid := os.fork()):
            return json.loads(line)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


def become(request):
    """Let this process be as if it had been started anew."""
    for number, path in enumerate((os.devnull, *request["outputs"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
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
    request = serve()
    if request:
        become(request)
    end(sys.modules["kedro.framework.cli.cli"].main if request else lambda: None)
