"""Compares the code lines under src/trivium with docs/budget.md; exit status 1 when a part is over.

A code line is a physical line that holds code, imports included: no blank line, no comment, no docstring.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOP_LEVEL = "*.py"
_ROW = re.compile(r"^\| `([^`]+)` \| ([\d,]+) \|", re.MULTILINE)
_TOTAL = re.compile(r"^\| \*\*total\*\* \| ([\d,]+) \|", re.MULTILINE)


def code_lines(source: str) -> int:
    """How many lines of a program hold code."""
    tree = ast.parse(source)
    silent: set[int] = set()
    inside: set[int] = set()
    for node in ast.walk(tree):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if text and isinstance(node, ast.Expr):  # docstrings, also those under fields
            silent.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.Constant | ast.JoinedStr) and isinstance(node.end_lineno, int):
            inside.update(range(node.lineno, node.end_lineno + 1))  # a `#` there is no comment
    bare = {n for n, line in enumerate(source.splitlines(), 1) if line.strip() and not line.strip().startswith("#")}
    return len((bare | inside) - silent)


def read_budget(text: str) -> tuple[dict[str, int], int]:
    """The table's lines by part (``graph/``, …, ``*.py`` for the files at the top), and its total."""
    parts = {name: int(lines.replace(",", "")) for name, lines in _ROW.findall(text)}
    total = _TOTAL.search(text)
    if not parts or total is None:
        raise SystemExit("docs/budget.md holds no table with rows | `folder/` | lines | and | **total** |")
    return parts, int(total[1].replace(",", ""))


def count_lines(package: Path) -> dict[str, int]:
    """Code lines by part of the package."""
    counts: dict[str, int] = {}
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).parts
        part = f"{inside[0]}/" if len(inside) > 1 else TOP_LEVEL
        counts[part] = counts.get(part, 0) + code_lines(path.read_text(encoding="utf-8"))
    return counts


def complaints(budget: dict[str, int], total: int, counts: dict[str, int]) -> list[str]:
    """One line per part that is over its budget or has none."""
    found = [
        f"{part}: {lines:,} lines, docs/budget.md gives it {budget[part]:,}: shorten it, or move lines there"
        for part, lines in counts.items()
        if part in budget and lines > budget[part]
    ]
    found += [f"{part}: not in docs/budget.md: give it a row" for part in counts if part not in budget]
    if (rows := sum(budget.values())) > total:
        found.append(f"docs/budget.md: the rows add up to {rows:,}, the total is {total:,}")
    return found


def main() -> int:
    budget, total = read_budget((ROOT / "docs" / "budget.md").read_text(encoding="utf-8"))
    counts = count_lines(ROOT / "src" / "trivium")
    for part, lines in budget.items():
        print(f"{part:<14} {counts.get(part, 0):>6,} of {lines:>6,}")
    print(f"{'total':<14} {sum(counts.values()):>6,} of {total:>6,}")
    found = complaints(budget, total, counts)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
