"""The project's frame: what README and docs promise exists, links resolve, nothing names one machine."""

from __future__ import annotations

import re
import shlex
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import check_budget
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("demo/*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
# Folders where one machine keeps its own: a committed file that names one works nowhere else.
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:work|home|root|Users|tmp|farm|opt|mnt)/\w|(?:index-url|find-links)[ =]")


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git clone: there is no list of committed files")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_readme_names_only_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z]+) ", shown, re.MULTILINE)) == set(phony[1].split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_docs_exist(page: Path) -> None:
    from trivium.cli import app

    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"`trivium ([a-z]+)", text)) <= set(app)
    for line in re.findall(r"^trivium (.+)$", text, re.MULTILINE):
        app.parse_args(shlex.split(line, comments=True), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), f"{target} leads nowhere"
            if anchor:
                titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_page_of_the_docs_can_be_reached() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page.suffix == ".md" and page not in reached:
            reached.add(page)
            links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
            ahead += [(page.parent / link).resolve() for link in links if not link.startswith("http")]
    assert set(PAGES) <= reached


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    names = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert names == set(re.findall(r"^\| ([\w-]+) \| (?!what for)", page, re.MULTILINE))


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content[:1024]:
            lines = content.decode("utf-8").splitlines()
            found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    assert not found


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"


def test_budget_table_covers_the_source_and_adds_up() -> None:
    budget, total = check_budget.read_budget((ROOT / "docs" / "budget.md").read_text(encoding="utf-8"))
    folders = {f"{path.parent.name}/" for path in (ROOT / "src" / "trivium").glob("*/__init__.py")}
    assert folders | {check_budget.TOP_LEVEL} <= set(budget)
    assert sum(budget.values()) == total


def test_budget_check_counts_lines_and_complains(tmp_path: Path) -> None:
    (tmp_path / "graph" / "deep").mkdir(parents=True)
    (tmp_path / "cli.py").write_text("a\n\nb\n")
    (tmp_path / "graph" / "x.py").write_text("# a\n")
    (tmp_path / "graph" / "deep" / "y.py").write_text("a\nb\n")
    counts = check_budget.count_lines(tmp_path)
    assert counts == {"*.py": 3, "graph/": 3}
    assert check_budget.complaints({"*.py": 3, "graph/": 3}, 6, counts) == []
    assert check_budget.complaints({"*.py": 3, "graph/": 2}, 6, counts) == [
        "graph/: 3 lines, docs/budget.md gives it 2: shorten it, or move lines there"
    ]
    assert check_budget.complaints({"*.py": 3}, 6, counts) == ["graph/: not in docs/budget.md: give it a row"]
    assert check_budget.complaints({"*.py": 3, "graph/": 3}, 5, counts) == [
        "total: 6 lines, the budget is 5",
        "docs/budget.md: the rows add up to 6, the total is 5",
    ]


@pytest.fixture
def default_checkpoint() -> None:
    from trivium.errors import CheckpointError
    from trivium.model.checkpoint import find_checkpoint

    try:
        find_checkpoint("trivium")
    except CheckpointError:
        pytest.skip("this tree ships no default checkpoint")


@pytest.mark.usefixtures("default_checkpoint")
def test_the_first_session_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trivium.cli import app

    monkeypatch.chdir(ROOT)
    command = re.search(r"^trivium (rank .+)$", README, re.MULTILINE)
    program = re.search(r"^```python\n(.+?)^```", README, re.MULTILINE | re.DOTALL)
    assert command
    assert program
    app(shlex.split(command[1]), result_action="return_value")
    printed = capsys.readouterr().out
    shown = README.split("-k 3\n```\n\n```\n")[1].split("```")[0].splitlines()
    assert [line.split()[:-1] for line in printed.splitlines()] == [line.split()[:-1] for line in shown]
    exec(program[1], {})
    assert "Congo River" in capsys.readouterr().out
