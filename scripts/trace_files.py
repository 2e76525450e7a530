"""Runs a command of trivium and lists the package's files whose functions it enters; 1 if they are more than --most.

    python scripts/trace_files.py --most 25 rank world.tsv --head Nepal --relation borders

Files that are only imported do not count, so the command runs twice, and what the second run enters is listed: it is
what a reader must open to follow the command.
"""

from __future__ import annotations

import inspect
import sys
import threading
from pathlib import Path
from types import FrameType

import trivium
from trivium.cli import main

PACKAGE = Path(trivium.__file__).parent


def trace(words: list[str]) -> list[str]:
    """The files, relative to the package, in the order in which they are first entered."""
    files: dict[str, None] = {}

    def enter(frame: FrameType, event: str, _: object) -> None:
        if (
            event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED
        ):  # a function's, not a module's or class's body
            files.setdefault(frame.f_code.co_filename)

    run(words)
    threading.setprofile(enter)
    sys.setprofile(enter)
    run(words)
    sys.setprofile(None)
    threading.setprofile(None)
    return [str(Path(name).relative_to(PACKAGE)) for name in files if Path(name).is_relative_to(PACKAGE)]


def run(words: list[str]) -> None:
    try:
        main(words)
    except SystemExit as stop:
        if stop.code:
            raise


if __name__ == "__main__":
    most, found = int(sys.argv[2]), trace(sys.argv[3:])
    print(f"{len(found)} files: {' '.join(found)}", file=sys.stderr)
    sys.exit(len(found) > most)
