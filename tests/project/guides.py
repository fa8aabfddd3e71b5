"""The commands of docs/how-to, and what a test changes in them to run them all within minutes."""

import re
import tempfile
from dataclasses import dataclass

from projects import ROOT
from servers import free_port

FOLDER = ROOT / "docs/how-to"

# Pages whose commands all run in another test.
RUN_BY_OTHERS = {"dvc-experiments.md": "test_dvc_experiments.py"}

# Each page is read after those whose generators or datasets it uses; the others come first.
LATER = (
    *("compare.md", "compare-folders.md", "sweep.md", "fid.md", "labels.md", "use-generator.md", "latent-space.md"),
    *("synthetic-marks.md", "promote.md", "serve.md"),
    *("tracking-server.md", "dvc-datasets.md", "free-disk-space.md", "s3.md", "single-pipelines.md", "move-project.md"),
)
BENCHMARK = "takes many minutes without a GPU; tests/benchmarks has the tests of the benchmarks"
WHEEL = "needs the installed wheel: test_packaging.py installs it, and runs these commands"
NOT_RUN = {
    (
        "containers.md",
        "docker run --user $(id -u):$(id -g) -v $PWD:/app -w /app -v ~/photos:/photos:ro IMAGE "
        "kedro run --env=images64 --params ingestion.source=/photos",
    ): "needs an image of Docker",
    ("containers.md", "docker run -v disk:/app/data/03_primary/shards IMAGE kedro run"): "needs an image of Docker",
    ("fid.md", "kedro dcgan fetch-weights"): "downloads the weights of Inception",
    ("gpu.md", "nvidia-smi"): "needs a GPU",
    ("gpu.md", "pytest tests/model tests/training tests/evaluation"): "runs the test suite",
    ("gpu.md", "python benchmarks/training_step.py"): BENCHMARK,
    ("gpu.md", "python benchmarks/ablation.py"): BENCHMARK,
    ("gpu.md", "python benchmarks/quality.py data/03_primary --env=images64 --kimg 2000"): BENCHMARK,
    ("move-project.md", "rsync -a --exclude .venv kedro-dcgan/ server:kedro-dcgan/"): "needs another machine",
    ("single-pipelines.md", "kedro-dcgan --conf-source=conf-kedro_dcgan.tar.gz --env=smoke"): WHEEL,
    (
        "single-pipelines.md",
        "kedro-dcgan sample --conf-source=conf-kedro_dcgan.tar.gz --count 16 --output samples",
    ): WHEEL,
    ("notebooks.md", "jupyter lab notebooks"): "needs JupyterLab; test_notebooks.py runs the notebooks",
    ("ray.md", "ray start --address=HEAD:6379"): "needs another machine",
    ("ray.md", "ray stop"): "stops the Ray of other tests, too",
    ("s3.md", "aws s3 sync s3://my-images/photos ~/photos"): "needs the AWS command line",
    (
        "tracking-server.md",
        "mlflow server --host 127.0.0.1 --port 5000 --artifacts-destination s3://my-bucket/mlflow",
    ): "is the server before it with a bucket, on the same port",
    ("tracking-server.md", "createdb mlflow"): "needs PostgreSQL, which test_shared_server.py starts",
}
# Commands that change the environment of the tests are not run either.
INSTALLS = re.compile(r"\bpip install\b")

PORTS = {number: free_port() for number in (5000, 5001, 5003, 5004, 5005, 6379, 9000, 29400)}
# The names of Ray's sockets must be short.
RAY_FOLDER = tempfile.TemporaryDirectory(prefix="ray-")
# What is shortened: budgets, samples and sweeps; and what stands for something of the reader.
SHORTENED = {
    r"budget=\d+[mh]": "budget=1s",
    r"budget=100kimg": "budget=0.2kimg",
    r"doctor(?= --(output|json)|$)": "doctor --only data",
    r"--only gradients --only memory": "--only memory",
    r"--only speed --minutes 10": "--only data --minutes 10",
    r"width=48": "width=8",
    r"sweep.kimg=30": "sweep.kimg=0.2",
    r"samples=10000": "samples=60",
    r"--count 500": "--count 60",
    r"evaluate-images": "evaluate-images --input-size 32 --inception-weights none",
    r"torchvision:CIFAR10": "~/real/a",
    r"profile --env=images64$": "profile --env=images64 --steps 2",
    r"--batch-size 128": "--batch-size 8",
    r"devices=4": "devices=2",
    r"--nnodes=2 --nproc-per-node=8": "--nnodes=1 --nproc-per-node=1",
    r"HOST:": "127.0.0.1:",
    r"start --head": "start --head --block --num-cpus=2 --port=6379 --include-dashboard=false --temp-dir="
    + RAY_FOLDER.name,
    r"PICTURE": "~/photos/trip/0.png",
    r"/shared/photos": "~/photos",
    r"^dvc gc": "yes | dvc gc",
    r" /srv/": " ~/srv/",
    r"<your repository>": "~/kedro-dcgan",
    r"postgresql\+psycopg://\S*": "sqlite:///$HOME/server.db",
    r"base-62.4kimg-1a2b images64": "$(kedro dcgan compare | grep -o 'smoke-[^ ]*' | sort -u | head -2)",
    # Evaluation and export take most of the time, and training is the point of these.
    r"^kedro run (?!.*--pipelines)(?=.*(source=|budget=1s|=sweep|threads=|--params training.resume))": (
        "kedro run --pipelines=train "
    ),
    r"^make (ui|test)": r"make --dry-run \1",
    r"dcgan serve$": "dcgan serve --port 5001",
    r"serve --host": "serve --port 5004 --host",
    r"mlflow server": "mlflow server --workers 1",
    r"models serve": "models serve --port 5005",
    **{rf"\b{number}\b": str(port) for number, port in PORTS.items()},
}

# Servers run in the background until the next one starts, or the page ends. They must answer at this address.
SERVERS = {
    "ray start --head": f"tcp://127.0.0.1:{PORTS[6379]}",
    "kedro dcgan serve": f"http://127.0.0.1:{PORTS[5001]}/ping",
    "kedro dcgan serve --model dcgan-digits@champion --port 5003": f"http://127.0.0.1:{PORTS[5003]}/ping",
    "kedro dcgan serve --host 0.0.0.0": f"http://127.0.0.1:{PORTS[5004]}/ping",
    "mlflow models serve --model-uri models:/dcgan-digits@champion --env-manager local": f"http://127.0.0.1:{PORTS[5005]}/ping",
    "mlflow server --host 127.0.0.1 --port 5000 --artifacts-destination /srv/mlflow": f"http://127.0.0.1:{PORTS[5000]}/health",
}

# What the reader does between the commands, as the text of the page says.
BEFORE = {
    ("compare.md", 2): "for one in A B; do mkdir -p $one/data; cp -r data/08_reporting $one/data; done",
    ("dvc-datasets.md", 1): "cp -r ~/faces data/01_raw/ && rm data/01_raw/faces/home/1*"
    " && sed -i 's#source: .*#source: data/01_raw/faces#' conf/base/parameters_ingestion.yml",
    ("dvc-datasets.md", 4): "cp -r ~/faces data/01_raw/",
    ("dvc-datasets.md", 11): "git checkout -q main && dvc checkout -q"
    " && (cd data/01_raw/faces && python -m zipfile -c ../faces.zip .)",
    ("dvc-datasets.md", 15): "cd ~",
    ("dvc-datasets.md", 19): "sed -i 's#source: .*#source: torchvision:MNIST#' conf/base/parameters_ingestion.yml",
    ("s3.md", 7): "git add . && git commit -qm 'Add a bucket' && git clone -q . ~/other"
    " && cp .dvc/config.local ~/other/.dvc && cd ~/other",
    # The evaluation of classes takes long.
    ("use-generator.md", 3): "kedro run --pipelines=train",
    ("move-project.md", 0): "cd ~ && mkdir projects",
}


@dataclass(frozen=True)
class Step:
    """A command of a page, its number there, and whether the page shows that it fails."""

    page: str
    number: int
    command: str
    fails: bool

    @property
    def script(self):
        """What a test runs instead."""
        command = self.command
        for pattern, text in SHORTENED.items():
            command = re.sub(pattern, text, command)
        return command


def steps_of(page):
    """Return the commands in blocks of the console, which may be indented; a quoted text may span lines."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", (FOLDER / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    parts = [part for block in blocks for part in re.split(r"^ *\$ ", block, flags=re.MULTILINE)[1:]]
    steps = []
    for number, part in enumerate(parts):
        command, *output = part.rstrip().split("\n")
        while command.count("'") % 2:
            command += "\n" + output.pop(0)
        steps.append(Step(page, number, command, bool(output) and output[0].startswith("ERROR: ")))
    return steps


def steps_to_run():
    """Return the steps of all pages: each command once, except those that a page repeats itself."""
    pages = sorted(
        (page.name for page in FOLDER.glob("*.md")), key=lambda page: (page in LATER and 1 + LATER.index(page), page)
    )
    steps = []
    for page in pages:
        if page not in RUN_BY_OTHERS:
            known = {step.command for step in steps}
            steps += [
                step
                for step in steps_of(page)
                if step.command not in known
                and (page, step.command) not in NOT_RUN
                and not INSTALLS.search(step.command)
            ]
    return steps
