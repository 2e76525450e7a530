"""The page "Your data": every command on it does what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.graph.conftest import Server

PAGE = (Path(__file__).parents[2] / "docs" / "your-data.md").read_text("utf-8")
FILES = dict(re.findall(r'^```text title="(.+?)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [
    (line, section[0])
    for section in re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    for block in re.findall(r"^```sh\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("section", list(dict.fromkeys(section for _, section in COMMANDS)))
def test_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Run, endpoint: Server, section: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    for line in (line for line, of in COMMANDS if of == section):
        status, out, err = command(*shlex.split(line.replace("https://example.org/sparql", endpoint.url))[1:])
        assert status == 0, err
        assert out or "-o" in line
        assert "looks like a header" not in err


def test_the_program_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    held: dict[str, Any] = {}
    exec(program, held)
    assert held["table"].rows() == [("Ann", "knows", "Bob")]
    assert list(held["again"].edges(keys=True)) == [("Ann", "Bob", "knows")]
