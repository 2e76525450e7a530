"""Writes docs/reference.md from the docstrings of what a program may use.

python scripts/make_reference.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
HOMES = {
    "trivium.graph.graph": ["Graph"],
    "trivium.graph.names": ["Names"],
    "trivium.graph.read": ["read_graph"],
    "trivium.graph.index": ["save_index", "open_index"],
    "trivium.datasets.registry": ["load_dataset", "Splits"],
    "trivium.model.config": ["ModelConfig"],
    "trivium.model.trivium": ["Trivium"],
    "trivium.model.checkpoint": ["load_checkpoint", "save_checkpoint", "import_ultra", "Provenance"],
    "trivium.inference.ranker": ["Ranker"],
    "trivium.inference.answers": ["Ranks"],
    "trivium.inference.complete": ["plan_completion", "complete"],
    "trivium.explanation": ["explain", "Explanation"],
    "trivium.calibration": ["Calibration"],
    "trivium.evaluation.evaluate": ["evaluate"],
    "trivium.service.settings": ["Limits"],
    "trivium.errors": [
        "TriviumError",
        "InputError",
        "GraphError",
        "ConfigError",
        "CheckpointError",
        "OutputError",
        "BusyError",
    ],
}
VALUES = (property, cached_property)
START = """# Reference

What a Python program may use; the command line says its own with `--help`, the HTTP interface at `/openapi.json`.
Made from the docstrings by `python scripts/make_reference.py`; a test holds it to them.
"""


def reference() -> str:
    """The page."""
    parts = [START]
    for module, names in HOMES.items():
        parts.append(f"## {module}\n")
        home = import_module(module)
        for name in names:
            parts += described(name, getattr(home, name), 3)
    return "\n".join(parts)


def described(name: str, thing: Any, level: int) -> Iterator[str]:
    """A heading, the signature, the docstring; of a class, its own public methods after it."""
    yield f"{'#' * level} `{name}`\n"
    if not (inspect.isclass(thing) and issubclass(thing, Exception)) and not isinstance(thing, VALUES):
        yield f"```python\n{signature(name, thing)}\n```\n"
    yield f"{text_of(thing)}\n"
    if inspect.isclass(thing):
        for method, held in vars(thing).items():
            plain = held.__func__ if isinstance(held, classmethod | staticmethod) else held
            if not method.startswith("_") and (callable(plain) or isinstance(plain, VALUES)) and plain.__doc__:
                yield from described(f"{name}.{method}", plain, level + 1)


def signature(name: str, thing: Any) -> str:
    """The call as it is written, on one line or with an argument a line."""
    given = inspect.signature(thing)
    kept = [p for p in given.parameters.values() if p.name not in ("self", "cls")]
    words = [re.sub(r": '([^']*)'", r": \1", without_modules(str(p))).replace("<factory>", "…") for p in kept]
    named = [place for place, parameter in enumerate(kept) if parameter.kind is parameter.KEYWORD_ONLY]
    if named:
        words.insert(named[0], "*")
    result = given.return_annotation
    end = "" if result in (given.empty, None, "None") or inspect.isclass(thing) else f" -> {shown(result)}"
    line = f"{name}({', '.join(words)}){end}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){end}"


def shown(annotation: Any) -> str:
    return without_modules(annotation if isinstance(annotation, str) else inspect.formatannotation(annotation))


def without_modules(text: str) -> str:
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def text_of(thing: Any) -> str:
    """The docstring as Markdown: its sections as lists, double backticks as single ones."""
    lines: list[str] = []
    listed = False
    for line in inspect.cleandoc(thing.__doc__ or "").splitlines():
        if re.fullmatch(r"(Args|Attributes|Returns|Yields|Raises):", line):
            listed = True
            lines += ["", f"**{line}**", ""]
        elif listed and re.match(r"    \S", line):
            lines.append(f"- {line.strip()}")
        else:
            listed = listed and (not line or line.startswith(" "))
            lines.append(f"  {line.strip()}" if listed and line else line)
    text = re.sub(r"``([^`]+)``", r"`\1`", "\n".join(lines))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"{PAGE.name}: {len(reference().splitlines()):,} lines")
