"""The project's frame: what README and docs promise exists, links resolve, nothing names one machine."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import check_budget
import pytest

import trivium
from tests.conftest import run_command

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
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


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_resolve(page: str) -> None:
    """Those of docs/ are checked where the site is built."""
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()] == []


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    needed = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in needed}
    rows = re.findall(r"^\| ([\w, -]+?) \|", page, re.MULTILINE)
    assert names == {name.lower() for row in rows for name in row.split(", ")} - {"package"}


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content[:1024]:
            lines = content.decode("utf-8").splitlines()
            found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    assert not found


def test_continuous_integration_skips_nothing_and_fails_with_the_tests(tmp_path: Path) -> None:
    """`.ci/run` on a machine without Chromium, whose programs write down how they are called; `make` fails."""
    programs, called = tmp_path / "bin", tmp_path / "called"
    for folder in (programs, tmp_path / "clone" / ".ci", tmp_path / "shared" / "data"):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "clone" / ".ci")
    for name in ("make", "apt-get"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" "$TRIVIUM_DATA" >> {called}\ntest {name} != make\n')
        (programs / name).chmod(0o755)
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run([tmp_path / "clone" / ".ci" / "run"], env={"PATH": str(programs)}, check=False)
    assert done.returncode == 1
    assert called.read_text().splitlines() == [
        f"{line} {tmp_path / 'shared' / 'data'}"
        for line in (
            "apt-get update -qq",
            "apt-get install -y -qq chromium",
            "make test PYTEST_FLAGS=--strict-skips",
        )
    ]


def test_strict_skips_fail(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "from tests.conftest import pytest_addoption, pytest_make_collect_report, pytest_runtest_makereport"
    )
    pytester.makepyfile(
        test_one="import pytest\ndef test_skipped(): pytest.skip('no browser')\ndef test_passed(): pass\n",
        test_two="import pytest\npytest.skip('no package', allow_module_level=True)\n",
        test_three="import pytest\n@pytest.mark.skipif(True, reason='no data')\ndef test_skipped(): pass\n",
    )
    pytester.syspathinsert(ROOT)
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1, skipped=3)
    strict = pytester.runpytest("-p", "no:cacheprovider", "--strict-skips", "--continue-on-collection-errors")
    strict.assert_outcomes(passed=1, failed=1, errors=2)
    strict.stdout.fnmatch_lines(["*no package*", "*no data*", "*no browser*"])


LIGHT = """
import sys
{}
heavy = {{"numpy", "torch", "numba", "polars", "pyarrow", "matplotlib", "sklearn", "pydantic", "fastapi"}}
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "action",
    [
        "import trivium, trivium.cli",
        "from trivium.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "help"],
)
def test_what_needs_no_graph_loads_nothing_heavy(action: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT.format(action)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_checkpoint_opens_without_the_compiler_of_torch() -> None:
    """Operations on tensors without memory may load it, which takes two seconds."""
    action = "import sys, trivium\ntrivium.load_model('trivium')\nprint('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", action], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_ranking_enters_few_files() -> None:
    """The most that `trivium rank` may pass through; a reader must open them all to follow it."""
    world = str(ROOT / "src" / "trivium" / "demo" / "world.tsv")
    question = ["rank", world, "--head", "Nepal", "--relation", "borders"]
    command = [sys.executable, str(ROOT / "scripts" / "trace_files.py"), "--most", "25", *question]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Nepal  borders" in done.stdout


def test_budget_table_covers_the_source_and_adds_up() -> None:
    budget, total = check_budget.read_budget((ROOT / "docs" / "budget.md").read_text(encoding="utf-8"))
    folders = {f"{path.parent.name}/" for path in (ROOT / "src" / "trivium").glob("*/__init__.py")}
    assert folders | {check_budget.TOP_LEVEL} <= set(budget)
    assert sum(budget.values()) == total


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("", 0),
        ("import a\n\n# b\nc = 1  # d\n", 2),
        ('"""doc\n\nmore"""\nx = 1\n', 1),
        ('class A:\n    """doc"""\n\n    x: int = 1\n    """about x\n    at length"""\n', 2),
        ('x = """a\n\n# no comment\n"""\n', 4),
        ("f(\n    1,\n\n    # why\n    2,\n)\n", 4),
    ],
)
def test_code_lines(source: str, lines: int) -> None:
    assert check_budget.code_lines(source) == lines


def test_budget_check_counts_lines_and_complains(tmp_path: Path) -> None:
    (tmp_path / "graph" / "deep").mkdir(parents=True)
    (tmp_path / "cli.py").write_text("a\n\nb\nc\n")
    (tmp_path / "graph" / "x.py").write_text("# a\na\n")
    (tmp_path / "graph" / "deep" / "y.py").write_text("a\nb\n")
    counts = check_budget.count_lines(tmp_path)
    assert counts == {"*.py": 3, "graph/": 3}
    assert check_budget.complaints({"*.py": 3, "graph/": 3}, 6, counts) == []
    assert check_budget.complaints({"*.py": 3, "graph/": 2}, 6, counts) == [
        "graph/: 3 lines, docs/budget.md gives it 2: shorten it, or move lines there"
    ]
    assert check_budget.complaints({"*.py": 3}, 6, counts) == ["graph/: not in docs/budget.md: give it a row"]
    assert check_budget.complaints({"*.py": 3, "graph/": 3}, 5, counts) == [
        "docs/budget.md: the rows add up to 6, the total is 5",
    ]


def test_the_first_session_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^trivium (.+)$", README.split("```\nhead ")[0], re.MULTILINE)
    program = re.search(r"^```python\n(.+?)^```", README, re.MULTILINE | re.DOTALL)
    assert [command.split()[0] for command in commands] == ["demo", "rank"]
    assert program
    for command in commands:
        capsys.readouterr()
        assert run_command(*shlex.split(command, comments=True)) == 0
    printed = capsys.readouterr().out
    shown = README.split("-k 3\n```\n\n```\n")[1].split("```")[0].splitlines()
    assert [line.split()[:-1] for line in printed.splitlines()] == [line.split()[:-1] for line in shown]
    exec(program[1], {})
    assert "Congo River" in capsys.readouterr().out


def test_one_version() -> None:
    assert importlib.metadata.version("trivium") == trivium.__version__
