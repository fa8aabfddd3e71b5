"""The generated parts of the reference pages in `docs/reference/`: `python -m kedro_dcgan.documentation` writes them.

A page holds text written by hand, and blocks that are generated from the code:

    <!-- generated: NAME -->
    ...
    <!-- end of generated -->

`tests/test_reference_pages.py` fails if one of them is stale. The pages of the parameters are written by
`kedro_dcgan.config`.
"""

import re
from collections.abc import Callable
from pathlib import Path

from kedro_dcgan.documentation import commands, facts, pipelines

FOLDER = "docs/reference"

_BLOCK = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end of generated -->)", re.DOTALL)


def blocks(project: Path) -> dict[str, Callable[[], str]]:
    """Return the functions that write the blocks, by name."""
    return {
        "commands": lambda: commands.describe_commands(for_generators=False),
        "commands for generators": lambda: commands.describe_commands(for_generators=True),
        "common options": commands.describe_common_options,
        "options of kedro run": commands.describe_run,
        "combined pipelines": pipelines.describe_pipelines,
        "nodes": pipelines.describe_nodes,
        "datasets": lambda: pipelines.describe_datasets(project / "conf/base/catalog.yml"),
        "columns of the manifest": facts.describe_columns,
        "skip reasons": facts.describe_reasons,
        "limits of the server": facts.describe_limits,
        "metrics": facts.describe_metrics,
    }


def generated_pages(project: Path) -> dict[Path, str]:
    """Return the pages that have blocks, with the text that each should have; KeyError for an unknown block."""
    makers, pages = blocks(project), dict[Path, str]()
    for page in sorted((project / FOLDER).glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if _BLOCK.search(text):
            pages[page] = _BLOCK.sub(lambda found: f"{found[1]}\n{makers[found[2]]()}\n{found[3]}", text)
    return pages


def names_of_blocks(text: str) -> list[str]:
    """Return the names of the generated blocks in a page."""
    return [found[2] for found in _BLOCK.finditer(text)]
