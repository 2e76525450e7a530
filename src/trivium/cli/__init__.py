"""The command line: a file a family of verbs, loaded when one of them is asked for."""

import logging
import re
import signal
import sys
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError

from trivium import __version__
from trivium.errors import OutputError, TriviumError

VERBS = {
    "demo": "hides facts of a real graph, asks for them, and says how good the answers are",
    "rank": "answers questions that the graph does not already answer",
    "rank score": "scores and ranks given triples",
    "rank relate": "says which relation joins two entities",
    "complete": "lists the most plausible links that are not there",
    "review": "keeps or rejects suggested links, one by one",
    "review export": "writes the links that were kept, with where they come from",
    "review verify": "says whether a table of answers still holds",
    "explain": "says why an answer has its score",
    "calibrate": "learns what a score is worth on a graph",
    "serve": "answers over HTTP, with a page to ask and browse",
    "serve mcp": "answers agents by the Model Context Protocol",
    "info": "describes a graph, a checkpoint or a flags.yaml",
    "info datasets": "lists the data sets that are known by name",
    "info index": "saves a graph in a form that opens at once",
    "info import": "turns a public ULTRA checkpoint into a safe file",
    "split": "divides a graph into facts to answer from and facts to ask for",
    "evaluate": "measures checkpoints on data sets and suites, leakage beside each figure",
    "evaluate benchmark": "another name of evaluate",
    "evaluate overlap": "the share of B's triples that A's training triples contain",
    "train pretrain": "trains a checkpoint from scratch",
    "train finetune": "fits a checkpoint to one graph",
    "train ablate": "measures what each part of a model is worth",
    "train weights": "draws the fusion weights of runs over time",
    "train synthesize": "writes a synthetic graph made by random rules",
}
"""The module of each verb in this package, the verb where it has another name, and a line about it."""

OUTPUTS = ("output", "png", "table", "json", "export")
"""The options that name a file to write."""


def check_apart(**given: Any) -> None:
    """Refuses to write, even with --force, what the same command reads."""
    for value in list(given.values()):
        given |= vars(value) if is_dataclass(value) else {}
    outputs = [given.pop(name) for name in OUTPUTS if isinstance(given.get(name), Path)]
    for name in (name for value in given.values() for name in (value if isinstance(value, list) else [value])):
        for place in outputs if isinstance(name, str | Path) else ():
            with suppress(OSError, ValueError):  # where one is not there, they are apart
                if place.is_file() and place.samefile(name):
                    raise OutputError(f"{place} is read by this command: choose another name for what it writes")


app = App(
    name="trivium",
    version=__version__,
    help="Finds the missing links of a knowledge graph it has never seen.",
    suppress_keyboard_interrupt=False,  # it exits without a word
)
for place, line in VERBS.items():
    module, verb = place.split()[0], place.split()[-1]
    app.command(
        f"trivium.cli.{module}:{'import_' if verb == 'import' else verb}", name=verb, help=line, validator=check_apart
    )


def main(words: list[str] | None = None) -> None:
    """Runs a command, the process's own by default. Wrong input is one line on standard error and exit status 2.

    What the library logs goes to standard error too, a line a record. SIGTERM and SIGHUP end the process's own command
    as Ctrl-C does, unless they are ignored, as with nohup; a service has its own ways.
    """
    if words is None and sys.argv[1:2] != ["serve"]:
        for kind in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(kind) is signal.SIG_DFL:
                signal.signal(kind, signal.default_int_handler)
    log, lines = logging.getLogger("trivium"), logging.StreamHandler()
    log.setLevel(logging.INFO)
    log.addHandler(lines)
    try:
        app(sys.argv[1:] if words is None else words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        said = " ".join(str(error).split())  # of what pydantic says of a range, the sentence
        _stop(re.sub(r"\d+ validation errors? for \S+ (.*?) \[type=.*", r"\1.", said), 2)
    except TriviumError as error:
        _stop(str(error), 2)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on where it can, a training run with --resume", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except UnicodeEncodeError as error:  # bytes of a command that are no text, or a terminal that is not UTF-8
        _stop(f"{str(error.object)[:80]!a} is not text in UTF-8: give it so, in a terminal that is", 2)
    except OSError as error:  # without a name it is standard output, on a full disk perhaps
        _stop(f"{error.filename or 'standard output'}: {error.strerror or error}", 2)
    finally:
        log.removeHandler(lines)


def _stop(message: str, status: int) -> None:
    print(f"trivium: {message}", file=sys.stderr)
    sys.exit(status)
