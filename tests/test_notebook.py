"""The notebook of the docs runs, and shows what it speaks of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat import read

from trivium.model.checkpoint import SHIPPED

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"


def test_the_notebook_runs(tmp_path: Path) -> None:
    if not (SHIPPED / "trivium.safetensors").exists():
        pytest.skip("this tree ships no default checkpoint")
    run = [sys.executable, "-c", "from nbclient.cli import main; main()", "--timeout=300", "--output=run.ipynb"]
    (tmp_path / NOTEBOOK.name).write_bytes(NOTEBOOK.read_bytes())
    home = {"IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    done = subprocess.run(
        [*run, NOTEBOOK.name], cwd=tmp_path, env=os.environ | home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    cells = [cell for cell in read(tmp_path / "run.ipynb", 4).cells if cell.cell_type == "code"]  # type: ignore[no-untyped-call]
    shown = ["".join(str(out.get("data", {}).get("text/html", "")) for out in cell.outputs) for cell in cells]
    for html, words in zip(shown, (["facts"], ["Senegal"], ["Benin"], ["rejected"], ["Benin"]), strict=False):
        assert all(word in html for word in words)
    assert "Senegal" not in shown[4]
    assert "wasAttributedTo" in str(cells[-1].outputs)
