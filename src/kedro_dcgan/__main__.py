"""Run the installed package without the project folder.

`kedro-dcgan` and `python -m kedro_dcgan` run the wheel of `kedro package` with its configuration: a folder or archive
given with `--conf-source`, or the folder `conf` of the working directory. Data and the tracking database are in the
working directory.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kedro_dcgan_plugin import disable_telemetry


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run a command of `kedro dcgan`, or `run`. Options alone mean `run`, as in every packaged Kedro project."""
    disable_telemetry()
    if not Path("conf/logging.yml").is_file():
        # Kedro reads it when it is imported. Its own default adds times, levels and its own messages.
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(Path(__file__).with_name("logging.yml")))
    from kedro.framework.project import configure_project

    configure_project("kedro_dcgan")
    from kedro_dcgan.cli.command import dcgan
    from kedro_dcgan.cli.kedro_run import run

    dcgan.add_command(run)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("--help", "-h", "--version")):
        words.insert(0, "run")
    # In a notebook, return to the caller.
    return dcgan.main(words, prog_name="kedro-dcgan", standalone_mode=not hasattr(sys, "ps1"))


if __name__ == "__main__":
    main()
