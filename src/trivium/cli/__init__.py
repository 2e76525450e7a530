"""The command line: one verb, one function, no logic."""

import sys

from cyclopts import CycloptsError

from trivium.cli import answering, looking, research
from trivium.cli.options import app
from trivium.errors import TriviumError

__all__ = ["answering", "app", "looking", "main", "research"]


def main(words: list[str] | None = None) -> None:
    """Runs a command, the process's own by default. Wrong input is one line on standard error and exit status 2."""
    try:
        app(sys.argv[1:] if words is None else words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _stop(" ".join(str(error).split()), 2)
    except TriviumError as error:
        _stop(str(error), 2)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on where it can, a training run with --resume", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:  # without a name it is standard output, on a full disk perhaps
        _stop(f"{error.filename or 'standard output'}: {error.strerror or error}", 2)


def _stop(message: str, status: int) -> None:
    print(f"trivium: {message}", file=sys.stderr)
    sys.exit(status)
