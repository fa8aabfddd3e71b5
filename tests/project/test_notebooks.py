from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from projects import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs_from_its_folder_and_is_stored_without_output(trained_project, notebook):
    content = nbformat.read(notebook, as_version=4)
    assert not any(cell.get("outputs") for cell in content.cells)
    folder = Path(trained_project.path / "notebooks")
    folder.mkdir(exist_ok=True)
    NotebookClient(content, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    pictures = [
        output for cell in content.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 4
