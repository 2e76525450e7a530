"""Whatever ends a command, and whatever it is given to write on: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import SMALL, Run, small_model
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint

WRITING = """
import os, signal, sys, time
from trivium import cli

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored

def wait(handle):
    print("writing", flush=True)
    time.sleep(60)

os.fsync = wait
sys.argv = ["trivium", "synthesize", "-o", "o.tsv"]
cli.main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_leaves_nothing(tmp_path: Path, name: str) -> None:
    words = [sys.executable, "-c", WRITING]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        assert {place.suffix for place in tmp_path.iterdir()} == {".part"}
        process.send_signal(getattr(signal, name))
        said = process.communicate(timeout=30)[1]
    assert (process.returncode, said.count("\n")) == (130, 1)
    assert "interrupted" in said
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(small_model(), Provenance(), "m.safetensors")
    Path("g.csv").write_text("head,relation,tail\na,r,b\nb,r,c\n")
    Path("q.csv").write_text("head,relation\na,r\n")
    return Path("g.csv")


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize(
    "words",
    [
        "complete g.csv -o g.csv",
        "complete g.csv -o ./g.csv",
        "rank g.csv --queries q.csv -o q.csv",
        "rank g.csv --queries q.csv -o link.csv",
        "score g.csv q.csv -o q.csv",
        "finetune g.csv -o m.safetensors --checkpoint m.safetensors",
        "import m.safetensors -o m.safetensors",
    ],
)
def test_what_is_read_is_not_written_over(command: Run, words: str) -> None:
    Path("link.csv").symlink_to("q.csv")
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    status, _, err = command(*words.split(), "--force")
    assert (status, err.count("\n")) == (2, 1)
    assert "is read by this command: choose another name" in err
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_a_checkpoint_names_no_text_encoder_to_fetch(graph: Path, command: Run) -> None:
    """One line, and `trivium info` describes it."""
    for name in ("some/model", "/etc", "../all-MiniLM-L6-v2"):
        save_checkpoint(small_model(replace(SMALL, text_encoder=name)), Provenance(), "odd.safetensors", force=True)
        question = ("rank", graph, "--head", "a", "--relation", "r", "--checkpoint", "odd.safetensors")
        status, _, err = command(*question)
        assert (status, err.count("\n")) == (2, 1)
        assert f"text encoder {name!r}: the one that is known here is" in err
        assert command("info", "odd.safetensors")[0] == 0
