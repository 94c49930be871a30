"""The notebooks of examples/, executed in small form: other parameters, all cells as they stand."""

import json

import nbclient
import nbformat
import pytest

from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.paths import ROOT
from tests.helpers.rows import write_rows

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)


def executed(name: str, parameters: str, place) -> str:
    """Execute a notebook in a directory with these values of its parameters, and return what its cells print."""
    notebook = read(name)
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    cell.source += f"\n{parameters}"
    nbclient.NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(place)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    assert name != "demo" or any("image/png" in output.get("data", {}) for output in outputs)
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


@pytest.mark.process
@pytest.mark.trains
def test_notebooks_run(in_directory, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(in_directory / "ipython"))
    write_rows(in_directory / "train.csv", 48, 1)
    write_rows(in_directory / "dev.csv", 24, 2)
    save_pretrained_encoder(in_directory / "encoder")
    files = 'task="toy", train_file="train.csv", dev_file="dev.csv", text_columns="text", label_column="label"'
    short = 'precision="float32", max_steps=2'
    printed = executed(
        "demo",
        f'rows, model = dict({files}), "encoder"\n'
        f"teacher_options, student_options = dict({short}), dict(student_layers=2, {short})",
        in_directory,
    )
    assert "runs/toy/teacher" in printed and "pkd-skip runs/toy/pkd-skip-2-" in printed
    printed = executed("own_student", 'location, splits, layers, epochs = "data/toy", "train", (1, 3), 2', in_directory)
    assert "48 examples; " in printed and "epoch 2: loss " in printed
    assert (in_directory / "own-student.safetensors").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_stored_without_outputs(path):
    notebook = json.loads(path.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert notebook["nbformat"] == 4 and [*notebook["metadata"]] == ["kernelspec", "language_info"]


def test_there_are_two_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["demo", "own_student"]
