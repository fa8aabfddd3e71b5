"""The notebooks: stored without results, without definitions of their own, and run as a newcomer runs them."""

import ast
import re

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from projects import ROOT, command_environment, copy_project

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_results_no_definitions_and_no_settings_of_a_machine(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in cells if cell.outputs or cell.execution_count is not None] == []
    for cell in cells:
        nodes = ast.walk(ast.parse(TransformerManager().transform_cell(cell.source)))
        assert not any(isinstance(node, DEFINITIONS) for node in nodes), cell.source
    assert [cell for cell in notebook.cells if cell.metadata] == []
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("notebooks") / "kedro-dcgan")
    (project.path / "notebooks").mkdir()
    return project


def execute(project, stem, folder):
    """Run a notebook in a folder of the project; return its text output and the number of its pictures."""
    notebook = nbformat.read(ROOT / f"notebooks/{stem}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(project.path / folder)}})
    client.execute(env=command_environment())
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    return "".join(output.get("text", "") for output in outputs), len(pictures)


@pytest.mark.slow
def test_notebooks_run_in_a_fresh_project_in_their_order(project):
    first, *others = [path.stem for path in NOTEBOOKS]
    assert execute(project, first, "notebooks")[1] == 4
    texts, pictures = zip(*(execute(project, stem, ".") for stem in others), strict=True)
    assert pictures == (3, 3, 5)
    # The third compares one run, and says how to train a second.
    (command,) = re.findall(r"^kedro (run .*kimg=20.*)$", texts[1], flags=re.MULTILINE)
    project.kedro(*command.replace("kimg=20", "kimg=1").split())
    text, shown = execute(project, others[1], "notebooks")
    assert (shown, "kimg=20" in text) == (3, False)
    assert text.partition("Compared: ")[2].count("smoke-") == 2
