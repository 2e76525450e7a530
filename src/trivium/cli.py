"""The command line: one verb, one function, no logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from trivium import __version__
from trivium.errors import InputError, MissingPackageError, TriviumError
from trivium.service.settings import Limits

if TYPE_CHECKING:
    from trivium.calibration import Calibration
    from trivium.graph.graph import Graph
    from trivium.inference.ranker import Ranker

DEFAULT = "trivium"
LIMITS = Limits()

app = App(name="trivium", version=__version__, help="Finds the missing links of a knowledge graph it has never seen.")

Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Required = Annotated[Path, Parameter(name=["--output", "-o"])]
Count = Annotated[int, Parameter(name=["-k", "--k"])]
CalibrationFile = Annotated[
    Path | None, Parameter(help="From `trivium calibrate`: a confidence stands beside each score.")
]
Columns = Annotated[
    str | None, Parameter(help="The graph's columns, where CSV or Parquet call them otherwise: HEAD,RELATION,TAIL.")
]


@app.command
def rank(
    graph: Path,
    /,
    *,
    head: str | None = None,
    relation: str | None = None,
    relation_text: str | None = None,
    tail: str | None = None,
    queries: Path | None = None,
    k: Count = 10,
    include_known: bool = False,
    candidates: Path | None = None,
    output: Output = None,
    calibration: CalibrationFile = None,
    checkpoint: str = DEFAULT,
    columns: Columns = None,
    strict: bool = False,
    force: bool = False,
) -> None:
    """Answers questions: (head, relation, ?) or (?, relation, tail), with what the graph does not already hold.

    Parameters
    ----------
    graph
        TSV, CSV, Parquet, N-Triples, Turtle (also gzipped), or an index.
    head
        The entity that is asked about; its answers are tails.
    relation
        The relation that is asked.
    relation_text
        Instead of a relation of the graph: one that it does not hold, in words ("is the capital of").
    tail
        Instead of a head: answers are heads.
    queries
        A file of questions instead: (head, relation) or (relation, tail).
    k
        Answers for each question.
    include_known
        Also show answers that the graph holds, marked.
    candidates
        A file with one name a line, to which the answers are narrowed.
    output
        Write a table there (.tsv, .csv, .parquet, .jsonl).
    checkpoint
        A shipped checkpoint's name, or a file.
    strict
        Stop at an unknown name in the file of questions instead of skipping it.
    force
        Overwrite an existing output.
    """
    from trivium.inference import requests

    relation = requests.check_rank(head, relation, relation_text, tail, queries, k, output, force)
    ranker = _ranker(graph, checkpoint, columns, relation_text)
    sure = _calibration(calibration, ranker, checkpoint)
    chosen = requests.read_candidates(ranker, candidates)
    heads, relations = requests.read_questions(ranker, head, relation, tail, queries, strict)
    requests.answer(
        ranker, heads, relations, k, include_known, chosen, sure.confidence if sure else None, output, force
    )


@app.command
def score(
    graph: Path,
    triples: Path,
    /,
    *,
    output: Output = None,
    calibration: CalibrationFile = None,
    checkpoint: str = DEFAULT,
    columns: Columns = None,
    strict: bool = False,
    force: bool = False,
) -> None:
    """Scores given triples: score, filtered rank in both directions, and whether the graph holds it.

    A triple that the graph holds is judged with itself and its inverse taken out.

    Parameters
    ----------
    graph
        The graph.
    triples
        A file of triples.
    output
        Write a table there (.tsv, .csv, .parquet, .jsonl).
    checkpoint
        A shipped checkpoint's name, or a file.
    strict
        Stop at an unknown name instead of skipping its line.
    force
        Overwrite an existing output.
    """
    from trivium.inference import requests

    requests.check_table(output, force)
    ranker = _ranker(graph, checkpoint, columns)
    sure = _calibration(calibration, ranker, checkpoint)
    requests.judge(ranker, triples, strict, sure.confidence if sure else None, output, force)


@app.command
def complete(
    graph: Path,
    /,
    *,
    output: Required,
    relation: list[str] | None = None,
    k: Count = 10,
    calibration: CalibrationFile = None,
    min_confidence: float | None = None,
    checkpoint: str = DEFAULT,
    columns: Columns = None,
    yes: bool = False,
    force: bool = False,
) -> None:
    """Writes the most plausible links that are not there, asking each relation of the heads that occur with it.

    Says first how many questions that is and how long it takes. Interrupted, the same command goes on.

    Parameters
    ----------
    graph
        The graph.
    output
        The table to write (.tsv, .csv, .parquet, .jsonl).
    relation
        Relations to complete (repeatable); all by default.
    k
        Links for each head and relation.
    min_confidence
        Write only links with as much confidence, from 0 to 1; needs --calibration. Most questions asked here lack no
        answer, so fewer links are true than it says; see `trivium calibrate`.
    checkpoint
        A shipped checkpoint's name, or a file.
    yes
        Begin even if it takes more than an hour.
    force
        Overwrite an existing output.
    """
    from trivium.inference import requests

    requests.check_complete(k, calibration, min_confidence, output, force)
    ranker = _ranker(graph, checkpoint, columns)
    sure = _calibration(calibration, ranker, checkpoint)
    requests.complete_graph(ranker, output, relation, k, checkpoint, sure, min_confidence, yes, force)


@app.command
def explain(
    graph: Path,
    /,
    *,
    head: str,
    relation: str,
    tail: str,
    asked: Literal["tail", "head"] = "tail",
    paths: int = 5,
    json: bool = False,
    png: Path | None = None,
    checkpoint: str = DEFAULT,
    columns: Columns = None,
    force: bool = False,
) -> None:
    """Says why an answer has its score: the paths that carried it, each with its weight.

    A path's weight says how much of the score hangs on one of its facts. Where the checkpoint has enhancers, also what
    the relation's representation leaned on. A fact that the graph holds is judged with itself taken out.

    Parameters
    ----------
    graph
        The graph.
    head
        The fact's head.
    relation
        Its relation.
    tail
        Its tail.
    asked
        Which of the two ends is the answer.
    paths
        The most to show.
    json
        Print it as JSON.
    png
        Also draw it there.
    checkpoint
        A shipped checkpoint's name, or a file.
    force
        Overwrite an existing picture.
    """
    from trivium.explanation import commands

    commands.check(paths, png, force)
    commands.tell(_ranker(graph, checkpoint, columns), head, relation, tail, asked, paths, json, png, force)


@app.command
def calibrate(
    graph: Path,
    /,
    *,
    output: Required,
    share: float = 0.1,
    most: int = 5000,
    seed: int = 0,
    png: Path | None = None,
    checkpoint: str = DEFAULT,
    columns: Columns = None,
    force: bool = False,
) -> None:
    """Learns what a score is worth on this graph: hides some of its facts, asks for them, and fits confidences.

    A confidence is the estimated chance that an answer with this score, margin and rank is among the hidden true ones.
    True answers that the graph lacks count as wrong, so on an incomplete graph it is too low. Every question that is
    asked here lacks an answer, so for a question whose answers are all in the graph it is too high.

    Parameters
    ----------
    graph
        The graph.
    output
        The .json file to write. It serves this graph and this checkpoint, and refuses others.
    share
        Of the facts to hide, at most 0.5.
    most
        Hide at most so many facts; it takes two questions for each.
    seed
        Of what is hidden.
    png
        Also draw the reliability curve there.
    checkpoint
        A shipped checkpoint's name, or a file.
    force
        Overwrite existing outputs.
    """
    from trivium.calibration import commands

    commands.check(share, most, seed, output, png, force)
    commands.learn(_ranker(graph, checkpoint, columns), checkpoint, output, share, most, seed, png, force)


@app.command
def evaluate(
    datasets: list[str],
    /,
    *,
    checkpoint: str = DEFAULT,
    data_dir: Path | None = None,
    conditioning: Literal["own", "forward"] | None = None,
    sample: int | None = None,
    seed: int = 0,
    groups: bool = False,
    disable: list[str] | None = None,
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Measures filtered ranking on data sets, zero-shot: both directions, three tie policies, leakage.

    Parameters
    ----------
    datasets
        Names such as FB15k237Inductive:v1; see `trivium datasets`.
    checkpoint
        A shipped checkpoint's name, or a file.
    data_dir
        A folder that holds the data sets; downloaded into a cache by default.
    conditioning
        Condition inverse queries on themselves or on the forward relation; the checkpoint's own choice by default.
    sample
        Ask only about so many queries of each data set; the table then gives an interval.
    seed
        Of the sample.
    groups
        Also report each relation and each direction.
    disable
        Switch a part off (repeatable): text, similarity, prompt.
    json
        Also write the figures there.
    force
        Overwrite an existing output.
    """
    from trivium.evaluation import tables

    tables.evaluate_all(checkpoint, datasets, data_dir, conditioning, sample, seed, groups, disable or [], json, force)


@app.command
def benchmark(
    graphs: list[str] | None = None,
    /,
    *,
    output: Required,
    checkpoint: list[str] | None = None,
    data_dir: Path | None = None,
    conditioning: Literal["own", "forward"] | None = None,
    sample: int | None = None,
    seed: int = 0,
    disable: list[str] | None = None,
    valid: bool = False,
) -> None:
    """Evaluates checkpoints over many graphs beside published figures, and writes the table.

    Finished results are kept in the output folder; interrupted, the same command goes on.

    Parameters
    ----------
    graphs
        Suites (clean, grail, ingram, transductive, validation) and data sets; the first four by default.
    output
        The folder of results and of table.md.
    checkpoint
        Shipped names or files (repeatable).
    data_dir
        A folder that holds the data sets; downloaded into a cache by default.
    conditioning
        As for evaluate.
    sample
        Ask only about so many queries of each graph.
    seed
        Of the sample.
    disable
        Switch a part off (repeatable): text, similarity, prompt.
    valid
        Ask the validation questions, to choose between checkpoints without looking at the test.
    """
    from trivium.evaluation.benchmark import TEST_SUITES
    from trivium.evaluation.benchmark import benchmark as run

    chosen, parts = checkpoint or [DEFAULT], disable or []
    run(chosen, graphs or TEST_SUITES, output, data_dir, conditioning, sample, seed, parts, valid)


@app.command
def overlap(a: str, b: str, /, *, data_dir: Path | None = None) -> None:
    """Shows the share of B's graph and test triples that A's training triples contain.

    Parameters
    ----------
    a
        A data set's name, or a graph file.
    b
        A data set's name.
    data_dir
        A folder that holds the data sets.
    """
    from trivium.evaluation import tables

    tables.show_overlap(a, b, data_dir)


@app.command(name="import")
def import_(file: Path, /, *, output: Required, force: bool = False) -> None:
    """Turns a public ULTRA checkpoint (.pth) into one of ours; only tensors are read from it.

    Parameters
    ----------
    file
        ultra_3g.pth, ultra_4g.pth or ultra_50g.pth.
    output
        The .safetensors file to write.
    force
        Overwrite an existing output.
    """
    from trivium.graph.output import check_place
    from trivium.model.checkpoint import import_ultra, save_checkpoint

    check_place(output, force)
    save_checkpoint(*import_ultra(file), output, force)
    print(f"{output}: imported; inverse queries are conditioned on the forward relation, as in the public code")


@app.command
def pretrain(
    config: Path | None = None, /, *, run: Path | None = None, resume: Path | None = None, data_dir: Path | None = None
) -> None:
    """Trains a model from scratch on sampled subgraphs, as a configuration says.

    Parameters
    ----------
    config
        A YAML file; see docs/training.md.
    run
        The folder of the run; runs/NAME by default, after the configuration's name.
    resume
        Continue the run in this folder instead.
    data_dir
        A folder that holds the data sets.
    """
    from trivium.training import commands

    commands.pretrain_run(config, run, resume, data_dir)


@app.command
def finetune(
    graph: str | None = None,
    /,
    *,
    output: Required,
    checkpoint: str = DEFAULT,
    only: list[Literal["fusion", "similarity", "prompt", "text", "structure", "entity"]] | None = None,
    valid: Path | None = None,
    steps: int | None = None,
    run: Path | None = None,
    resume: Path | None = None,
    data_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Fits a checkpoint, or some of its parts, to one graph, and keeps the weights that validate best.

    Parameters
    ----------
    graph
        A graph file, or a data set's name: its training graph and its validation triples.
    output
        The .safetensors file to write.
    checkpoint
        Where to begin: a shipped checkpoint's name, or a file.
    only
        A part to train (repeatable); the others stay as they are. All by default.
    valid
        A file of validation triples; without it some are held out of the graph.
    steps
        At most so many.
    run
        The folder of the run; runs/NAME by default, after the output's name.
    resume
        Continue the run in this folder instead.
    data_dir
        A folder that holds the data sets.
    force
        Overwrite an existing output.
    """
    from trivium.training import commands

    commands.finetune_run(graph, output, checkpoint, list(only or ()), valid, steps, run, resume, data_dir, force)


@app.command
def weights(
    runs: list[str],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("weights.png"),
    table: Path | None = None,
    force: bool = False,
) -> None:
    """Draws what models rely on: weight, contribution and activity of each branch over time, runs side by side.

    Parameters
    ----------
    runs
        Folders of runs; a checkpoint (a file or a shipped name) gives the weights that it ended with.
    output
        The .png file to write.
    table
        Also write the figures there (.tsv, .csv, .parquet, .jsonl).
    force
        Overwrite existing outputs.
    """
    from trivium.training import commands

    commands.show_weights(runs, output, table, force)


@app.command
def ablate(
    config: Path | None = None, /, *, run: Path | None = None, resume: Path | None = None, data_dir: Path | None = None
) -> None:
    """Measures what each part of a model is worth, and suggests where the fusion weights should start.

    Parameters
    ----------
    config
        A YAML file; see docs/training.md.
    run
        The folder of the ablation; runs/NAME by default, after the configuration's name.
    resume
        Continue the ablation in this folder instead.
    data_dir
        A folder that holds the data sets.
    """
    from trivium.training import commands

    commands.ablate_run(config, run, resume, data_dir)


@app.command
def synthesize(
    *,
    output: Required,
    seed: int = 0,
    entities: int | None = None,
    relations: int | None = None,
    rules: int | None = None,
    triples_per_relation: int | None = None,
    force: bool = False,
) -> None:
    """Writes a synthetic graph made by random rules.

    Parameters
    ----------
    output
        The table to write (.tsv, .csv, .parquet).
    seed
        The graph is a function of it and of the other choices.
    entities
        How many.
    relations
        How many base relations; rules add more.
    rules
        How many.
    triples_per_relation
        The mean number of base facts of a relation.
    force
        Overwrite an existing output.
    """
    from trivium.training import commands

    commands.write_synthetic(output, seed, entities, relations, rules, triples_per_relation, force)


@app.command
def info(what: str | None = None, /, *, flags: Path | None = None) -> None:
    """Describes a graph or a checkpoint, or what a flags.yaml yields.

    Parameters
    ----------
    what
        A graph file, a checkpoint file, or a shipped checkpoint's name.
    flags
        A flags.yaml of the public code.
    """
    from trivium import describe

    describe.describe(what, flags)


@app.command
def datasets() -> None:
    """Lists the data sets that are known by name."""
    from trivium import describe

    describe.list_datasets()


@app.command
def index(graph: Path, /, *, output: Required, columns: Columns = None, force: bool = False) -> None:
    """Saves a graph in a form that opens at once, memory-mapped, whatever its size.

    Parameters
    ----------
    graph
        The graph.
    output
        The .trivium file to write.
    force
        Overwrite an existing output.
    """
    from trivium.graph.index import save_index
    from trivium.graph.output import check_place

    check_place(output, force)
    save_index(_graph(graph, columns), output, force)


@app.command
def serve(
    graph: Path,
    /,
    *,
    port: int = 8917,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    checkpoint: str = DEFAULT,
    calibration: CalibrationFile = None,
    columns: Columns = None,
    limits: Annotated[Limits, Parameter(name="*")] = LIMITS,
) -> None:
    """Serves a graph over HTTP: ranked answers, scores, reasons, search, and at / a page for people.

    The graph is read anew on SIGHUP or when its file changes; until then, and if that fails, the old one answers.

    Parameters
    ----------
    graph
        The graph; an index is ready soonest.
    port
        Where to listen; 0 takes a free one.
    host
        Loopback by default; anything else needs a token.
    token_file
        A file with the token that clients must send (Authorization: Bearer TOKEN).
    checkpoint
        A shipped checkpoint's name, or a file.
    """
    try:
        from trivium.service.loaded import Source
        from trivium.service.serve import run
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"serving needs {error.name}: pip install 'trivium[service]'") from error
    run(
        Source(lambda: _ranker(graph, checkpoint, columns), graph, checkpoint, calibration),
        host,
        port,
        token_file,
        limits,
    )


def _graph(path: Path, columns: str | None) -> Graph:
    from trivium.graph.graph import Graph

    if columns is None:
        return Graph.read(path)
    names = columns.split(",")
    if len(names) != 3 or not all(names):
        raise InputError(f"--columns {columns}: name three, HEAD,RELATION,TAIL")
    return Graph.read(path, **dict(zip(("head", "relation", "tail"), names, strict=True)))


def _ranker(graph: Path, checkpoint: str, columns: str | None, relation_text: str | None = None) -> Ranker:
    """A ranker for the verbs that answer; the checkpoint is looked at first, since it fails fast."""
    from trivium.model.checkpoint import find_checkpoint

    find_checkpoint(checkpoint)
    from trivium.inference.ranker import Ranker
    from trivium.inference.texts import asked_in_words, model_texts
    from trivium.model.trivium import Trivium

    model, read = Trivium.load(checkpoint), _graph(graph, columns)
    if relation_text is not None:
        read, texts = asked_in_words(model, read, relation_text, graph)
        return Ranker(model, read, texts=texts)
    return Ranker(model, read, texts=model_texts(model, read, graph))


def _calibration(path: Path | None, ranker: Ranker, checkpoint: str) -> Calibration | None:
    if path is None:
        return None
    from trivium.calibration import Calibration
    from trivium.model.checkpoint import checkpoint_sha256

    calibration = Calibration.load(path)
    calibration.check(ranker.graph, checkpoint_sha256(checkpoint))
    return calibration


def main(words: list[str] | None = None) -> None:
    """Runs a command, the process's own by default. Wrong input is one line on standard error and exit status 2."""
    try:
        app(sys.argv[1:] if words is None else words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _stop(" ".join(str(error).split()), 2)
    except TriviumError as error:
        _stop(str(error), 2)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on where it can", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


def _stop(message: str, status: int) -> None:
    print(f"trivium: {message}", file=sys.stderr)
    sys.exit(status)
