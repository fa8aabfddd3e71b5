"""Many `kedro` commands, each in a process of its own, forked from one that has imported what takes seconds.

The project's own package is not imported before: each command imports that of its project.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HEAVY = "imagecodecs", "kedro.framework.cli.cli", "kedro_mlflow", "matplotlib.figure", "mlflow", "pandas", "torch"


class PreloadedKedro:
    """The process that forks. It ends when this one does: then its input ends."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Read when torch is imported: before a command says how many threads it wants.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, *arguments, cwd, env):
        """Run `kedro` with these arguments; return its result with output and errors as text."""
        request = {"arguments": arguments, "cwd": str(cwd), "env": env, "outputs": list(map(str, self._outputs))}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, *(path.read_text() for path in self._outputs))


@functools.cache
def preloaded_kedro():
    """Start the process at its first use."""
    return PreloadedKedro()


def serve():
    """Fork for each line of the input, and answer with the exit code; return in the fork what it is to run."""
    for line in sys.stdin:
        if not (pid := os.fork()):
            return json.loads(line)
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


if __name__ == "__main__":
    # The folder of this file would come before everything else.
    sys.path.remove(str(Path(__file__).parent))
    for name in HEAVY:
        __import__(name)
    request = serve()
    if request:
        become(request)
        sys.modules["kedro.framework.cli.cli"].main()
