"""Write all generated documentation, in the project folder: `python -m kedro_dcgan.documentation`."""

from pathlib import Path

from kedro_dcgan.config.__main__ import generated_files, write_stale
from kedro_dcgan.documentation import generated_pages

if __name__ == "__main__":
    write_stale({**generated_files(Path.cwd()), **generated_pages(Path.cwd())})
