"""The reference is what the docstrings say now."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_reference_is_current() -> None:
    code = "import make_reference; print(make_reference.reference(), end='')"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'src'}", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert done.stdout.decode() == (ROOT / "docs" / "reference.md").read_text("utf-8"), (
        "make it anew: python scripts/make_reference.py"
    )
