"""The command line from outside: exit status, what is printed where, what is left on disk."""

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import SMALL, Run, random_graph, small_model, write_triples
from trivium import cli
from trivium.files import sealed, unsealed
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import Trivium, load_checkpoint, save_checkpoint

Ranked = Callable[..., list[list[str]]]
GRAPH = "a\tlikes\tb\nb\tlikes\tc\nc\tlikes\ta\na\tknows\tc\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Run) -> Run:
    """Runs a command in a folder that holds a small graph and an untrained model."""
    monkeypatch.chdir(tmp_path)
    Path("ok.tsv").write_text(GRAPH)
    save_checkpoint(small_model(), Provenance(training_data={}), "model.safetensors")
    return command


@pytest.fixture
def ranked(run: Run) -> Ranked:
    """Runs ``trivium rank``; the words of each line that it prints."""

    def call(*words: str) -> list[list[str]]:
        status, out, err = run("rank", *words, *MODEL)
        assert status == 0, err
        return [line.split() for line in out.splitlines()]

    return call


MODEL = ("--checkpoint", "model.safetensors")
LIKES = ("--head", "a", "--relation", "likes")


@pytest.mark.parametrize(
    ("files", "words", "message"),
    [
        ({"x.tsv": "a\tr\tb\nb\tr\n"}, "rank x.tsv --head a --relation r", "x.tsv line 2"),
        ({}, "rank missing.tsv --head a --relation r", "missing.tsv"),
        ({}, "rank ok.tsv --head zz --relation likes", "'zz'"),
        ({}, "rank ok.tsv --head a --relation lieks", "unknown relation 'lieks': did you mean 'likes'"),
        ({}, "rank ok.tsv --head a --relation likes -k 0", "k is 0"),
        ({}, "rank ok.tsv --head a", "--relation"),
        ({}, "rank ok.tsv --head a --tail b --relation likes", "give --head or --tail, not both"),
        ({}, "rank ok.tsv --head a --relation likes --checkpoint ok.tsv", "ok.tsv is not a checkpoint"),
        ({}, "rank ok.tsv --head a --relation likes --nonsense 3", "nonsense"),
        ({}, "complete ok.tsv -o nowhere/x.parquet", "nowhere"),
        ({"there.csv": "mine"}, "complete ok.tsv -o there.csv", "there.csv exists already"),
        ({"there.trivium": "mine"}, "index ok.tsv -o there.trivium", "there.trivium exists already"),
        ({"there.json": "mine"}, "calibrate missing.tsv -o there.json", "there.json exists already"),
        ({"x.safetensors": "mine"}, "finetune missing.tsv -o x.safetensors", "x.safetensors exists already"),
        ({}, "index missing.tsv -o x.csv", "x.csv: its ending must be .trivium"),
        ({}, "import missing.pth -o x.txt", "x.txt: its ending must be .safetensors"),
        ({}, "finetune missing.tsv -o x.txt", "x.txt: its ending must be .safetensors"),
        ({}, "weights missing -o x.pdf", "x.pdf: its ending must be .png"),
        ({}, "evaluate NoSuchSet --json x.txt", "x.txt: its ending must be .json"),
        ({}, "synthesize -o x.jsonl", "x.jsonl: its ending must be .tsv or .csv or .parquet"),
        ({"f.yaml": "similarity_enhancer_weight: 0\n"}, "info --flags f.yaml", "use_similarity_enhancer"),
        ({"f.yaml": "a: [\n"}, "info --flags f.yaml", "f.yaml line"),
        ({}, "pretrain", "--resume"),
        ({}, "pretrain --resume nowhere", "holds no run"),
        ({}, "finetune -o x.safetensors --resume nowhere --checkpoint trivium-3g", "leave --checkpoint out"),
        ({"c.yaml": "steps: 3\n"}, "pretrain c.yaml", "c.yaml: sources: this setting is needed"),
        ({}, "benchmark ok/ -o found --data-dir .", "'ok/' is no suite"),
        ({}, "pretrain --resume r --run s", "--run: r goes on as it began: leave --run out"),
        ({}, "ablate --resume r --run s", "--run: r goes on"),
        ({}, "finetune --resume r -o x.safetensors --steps 3", "--steps: r goes on"),
        ({"c.yaml": "sources: [{name: Natons}]\n"}, "pretrain c.yaml", "data set 'Natons': did you mean 'Nations'"),
        ({"c.yaml": "sources: [{name: ok.tsv}]\ntrain_only: [all]\n"}, "pretrain c.yaml", "'all' is no part"),
        ({"c.yaml": "training: {sources: [{name: Natons}]}\ngraphs: [UMLS]\n"}, "ablate c.yaml", "'Natons'"),
        ({}, "finetune Natons -o x.safetensors --checkpoint model.safetensors", "'Natons': did you mean 'Nations'"),
        ({}, "finetune none.tsv -o x.safetensors --checkpoint model.safetensors", "none.tsv"),
        ({}, "evaluate NoSuchSet", "NoSuchSet"),
        ({}, "evaluate NoSuchSet --seed -1", "seed is -1: give 0 or more"),
        ({}, "evaluate NoSuchSet --sample 1", "sample is 1: give 2 or more"),
        ({}, "benchmark Nations -o b --sample 0", "sample is 0: give 2 or more"),
        ({}, "benchmark Nations -o b --seed -1", "seed is -1"),
        ({}, "benchmark Nations -o b --disable text", "text cannot be switched off: this checkpoint has"),
        ({}, "benchmark Nations -o ok.tsv", "cannot make the folder ok.tsv"),
        ({}, "synthesize -o s.tsv --seed -1", "seed is -1"),
        ({}, "synthesize -o s.tsv --entities 0", "entities is 0: give 8 or more"),
        ({}, "synthesize -o s.tsv --relations -1", "relations is -1: give 1 or more"),
        ({}, "synthesize -o s.tsv --rules -1", "rules is -1"),
        ({}, "synthesize -o s.tsv --triples-per-relation 0", "triples_per_relation is 0"),
        ({}, "import ok.tsv -o x.safetensors", "ok.tsv"),
        ({"q.tsv": "zz\tlikes\n"}, "rank ok.tsv --queries q.tsv", "q.tsv"),
        ({"q.tsv": "a\tlikes\nzz\tlikes\n"}, "rank ok.tsv --queries q.tsv --strict", "q.tsv line 2"),
        ({"q.tsv": "Relation\tHead\nlikes\tzz\n"}, "rank ok.tsv --queries q.tsv --strict", "line 2: unknown entity"),
        ({"g.csv": "x,y,z\na,r,b\n"}, "info g.csv", "--columns HEAD,RELATION,TAIL says which"),
        ({}, "explain ok.tsv --head a --relation likes --tail zz", "unknown tail 'zz'"),
        ({"c.txt": "\n"}, "rank ok.tsv --head a --relation likes --candidates c.txt", "c.txt holds no name"),
        ({}, "rank ok.tsv --head \udcff --relation likes", r"'\udcff' is not text in UTF-8"),
        ({}, "explain ok.tsv --head a --relation likes --tail b --paths 0", "--paths. Must be > 0"),
        ({}, "explain ok.tsv --head a --relation likes --tail b --png nowhere/x.png", "nowhere"),
        ({}, "calibrate ok.tsv -o c.json", "4 facts can be hidden"),
        ({}, "calibrate ok.tsv -o c.json --share 0.7", "--share. Must be <= 0.5"),
        ({}, "calibrate ok.tsv -o c.json --most 0", "--most. Must be > 0"),
        ({}, "calibrate ok.tsv -o c.json --seed -1", "--seed. Must be >= 0"),
        ({}, "calibrate ok.tsv -o nowhere/c.json", "nowhere"),
        ({}, "calibrate missing.tsv -o c.txt", "c.txt: its ending must be .json"),
        ({}, "calibrate missing.tsv -o c.json --png c.pdf", "c.pdf: its ending must be .png"),
        ({}, "explain missing.tsv --head a --relation likes --tail b --png w.jpg", "w.jpg: its ending must be .png"),
        ({}, "rank ok.tsv --head a --relation likes --calibration ok.tsv", "ok.tsv is not a calibration"),
        ({}, "rank ok.tsv --head a --relation likes --calibration none.json", "none.json"),
        ({}, "complete ok.tsv -o x.tsv --min-confidence 0.5", "--calibration"),
        ({}, "complete ok.tsv -o x.tsv --calibration c.json --min-confidence 5", "from 0 to 1"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run: Run, files: dict[str, str], words: str, message: str) -> None:
    for name, content in files.items():
        Path(name).write_text(content)
    verb, *options = words.split()
    if verb in ("rank", "complete", "evaluate", "benchmark", "explain", "calibrate") and "--checkpoint" not in options:
        options += MODEL
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    status, out, err = run(verb, *options)
    assert (status, out) == (2, "")
    *warning, line = err.strip().splitlines()
    assert line.startswith("trivium: ") and message in line
    assert len(warning) <= 1
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize(("name", "said"), [(None, "standard output: full"), ("x.tsv", "x.tsv: full")])
def test_what_the_system_refuses_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "full", name)

    monkeypatch.setattr(cli, "app", refuse)
    assert run("info", "ok.tsv") == (2, "", f"trivium: {said}\n")


def test_rank_shows_names_and_leaves_known_answers_out(ranked: Ranked) -> None:
    header, *lines = ranked("ok.tsv", *LIKES)
    assert header == ["head", "relation", "tail", "rank", "score", "reversed"]
    assert [line[-1] for line in lines] == ["yes"]  # the graph says that c likes a
    assert {tail for _, _, tail, *_ in lines} == {"c"}
    assert {tail for _, _, tail, *_ in ranked("ok.tsv", *LIKES, "--include-known")[1:]} == {"b", "c"}
    assert {head for head, *_ in ranked("ok.tsv", "--tail", "a", "--relation", "likes")[1:]} == {"b"}


def test_questions_from_a_file(run: Run) -> None:
    Path("q.csv").write_text("relation,head,tail\nlikes,a,\nlikes,zz,\nknows,,c\n")
    Path("some.txt").write_text("a\nc\n")
    words = ("--queries", "q.csv", "-o", "out.parquet", "--candidates", "some.txt", *MODEL)
    status, _, err = run("rank", "ok.tsv", *words)
    assert status == 0
    assert "q.csv line 3: unknown entity 'zz'" in err
    table = pl.read_parquet("out.parquet")
    assert table["query"].to_list() == sorted(table["query"].to_list())
    assert table["query"].unique().to_list() == [0] and table["line"].unique().to_list() == [2]
    assert set(table.filter(pl.col("relation") == "likes")["tail"]) == {"c"}
    assert table.filter(pl.col("relation") == "knows").is_empty()  # c does not know itself, a is known


def test_answers_keep_the_place_of_their_question(run: Run) -> None:
    Path("q.tsv").write_text("zz\tlikes\n\nc\tlikes\na\tlikes\n")
    status, _, err = run("rank", "ok.tsv", "--queries", "q.tsv", "-o", "out.csv", "-k", "1", *MODEL)
    assert status == 0 and err.endswith("out.csv: 2 rows\n")
    assert pl.read_csv("out.csv").select("query", "line", "head").rows() == [(1, 3, "c"), (2, 4, "a")]


def test_ties_say_that_they_are_ties(run: Run) -> None:
    Path("t.tsv").write_text("x\ttype\tThing\n" + "".join(f"p{i}\ttype\tPlace\n" for i in range(9)))
    status, out, err = run("rank", "t.tsv", "--head", "x", "--relation", "type", "-k", "5", "--include-known", *MODEL)
    header, *lines = [line.split() for line in out.splitlines()]
    assert status == 0 and header == ["head", "relation", "tail", "rank", "tied", "score", "known"]
    assert err.startswith("-k cuts a tie: 9 answers share rank ")
    assert [line[4] for line in lines if line[2].startswith("p")] == ["9"] * sum(
        line[2].startswith("p") for line in lines
    )


def test_empty_candidates_are_an_error(run: Run) -> None:
    Path("none.txt").write_text("\n  \n")
    status, out, err = run("rank", "ok.tsv", *LIKES, "--candidates", "none.txt", *MODEL)
    assert (status, out, err) == (2, "", "trivium: none.txt holds no name: give one a line\n")


def test_a_graph_of_many_relations_is_described_at_once(run: Run) -> None:
    Path("many.tsv").write_text("".join(f"e{i}\te{i + 1}\ttail{i % 3}\n" for i in range(6000)))
    status, out, err = run("info", "many.tsv")
    assert status == 0 and "not counted: more than 5,000 relations" in out
    assert "6,000 relations, 5,999 of them heads too, and 3 tails: are the columns in another order?" in err


def test_relations_are_asked_by_what_a_file_beside_the_graph_calls_them(run: Run, ranked: Ranked) -> None:
    Path("relations.tsv").write_text("likes\tis fond of\n")
    assert ranked("ok.tsv", "--head", "a", "--relation", "is fond of") == ranked("ok.tsv", *LIKES)
    Path("relations.tsv").write_text("id\tsource\ttarget\tweight\tnote\n1\ta\tb\t2\tx\n")
    status, _, err = run("rank", "ok.tsv", *LIKES, *MODEL)
    assert status == 0 and "relations.tsv line 1" in err and "it lies beside the graph, names none of its" in err
    Path("relations.tsv").write_text("Likes\tis fond of\n")
    status, _, err = run("rank", "ok.tsv", *LIKES, *MODEL)
    assert status == 0 and "relations.tsv lies beside the graph, but names none of its 2 relations" in err
    Path("relations.tsv").write_text("likes\ta\tb\tc\td\te\n")
    status, _, err = run("rank", "ok.tsv", *LIKES, *MODEL)
    assert status == 2 and "(it is read because it lies beside the graph)" in err


def test_score_reports_unknown_names_and_marks_known_facts(run: Run) -> None:
    Path("t.tsv").write_text("a\tlikes\tc\nb\tlikes\tzz\nc\tlikes\ta\n")
    status, _, err = run("score", "ok.tsv", "t.tsv", "-o", "scored.csv", *MODEL)
    assert status == 0
    assert "t.tsv line 2" in err
    table = pl.read_csv("scored.csv")
    assert table["known"].to_list() == [False, True]
    assert table["line"].to_list() == [1, 3]
    assert set(table.columns) >= {"score", "tail_rank", "head_rank"}


def test_complete_writes_only_what_is_not_there(run: Run) -> None:
    status, _, err = run("complete", "ok.tsv", "-o", "all.tsv", *MODEL)
    assert status == 0
    assert "4 questions" in err
    found = pl.read_csv("all.tsv", separator="\t")
    known = {tuple(line.split("\t")) for line in GRAPH.splitlines()}
    assert not known & set(found.select("head", "relation", "tail").rows())


def test_complete_asks_as_it_is_told(run: Run) -> None:
    Path("heads.txt").write_text("c\n")
    Path("some.txt").write_text("a\nb\n")
    more = "--heads", "heads.txt", "--candidates", "some.txt", "--both-directions", "--relation", "knows", "-k", 1
    status, out, err = run("complete", "ok.tsv", "-o", "some.csv", "--json", "facts.json", *more, *MODEL)
    assert (status, "2 questions, 1 of them without an answer yet" in err) == (0, True), err
    rows = pl.read_csv("some.csv").select("head", "relation", "tail", "asked", "held").rows(named=True)
    assert {(row["asked"], row["held"]) for row in rows} == {("tail", 0), ("head", 1)}
    assert {row["head" if row["asked"] == "tail" else "tail"] for row in rows} == {"c"}
    assert {row[row["asked"]] for row in rows} <= {"a", "b"}
    facts = json.loads(Path("facts.json").read_text())
    assert (facts["questions"], facts["without_an_answer"], facts["k"]) == (2, 1, 1)
    top, share = next(iter(facts["appearance"]["shares"].items()))
    assert f"appearance@1 {top} {share:g} " in " ".join(out.split()) + " "
    assert "entropy" in err


def test_what_takes_over_a_minute_says_so_before(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_triples(Path("d.tsv"), DENSE.triples)
    Path("q.tsv").write_text("".join(f"e{h}\tr{r}\n" for h, r, _ in DENSE.triples[:30].tolist()))
    Path("q3.tsv").write_text("e1\tr0\te2\ne2\tr1\te2\n")
    for verb in ("rank", "calibrate"):
        monkeypatch.setattr(f"trivium.cli.{verb}.estimate_seconds", lambda *_: 300.0)
    for words in (("rank", "d.tsv", "--queries", "q.tsv"), ("score", "d.tsv", "q3.tsv"), ("calibrate", "d.tsv")):
        output = "c.json" if words[0] == "calibrate" else "o.csv"
        status, _, err = run(*words, "-o", output, "--force", *MODEL)
        assert (status, re.search("this takes about [0-9.]+ (minutes|hours)", err) is not None) == (0, True), err
    monkeypatch.setattr(Ranker, "expected_seconds", lambda *_: 300.0)
    one = "d.tsv", "--head", "e1", "--relation", "r0"
    for one_question in (["rank", *one], ["explain", *one, "--tail", "e2"]):
        status, _, err = run(*one_question, *MODEL)
        assert (status, "this takes about 5 minutes" in err) == (0, True), err


def test_answers_of_the_right_kind_without_what_is_wrong(run: Run, ranked: Ranked) -> None:
    Path("more.tsv").write_text(GRAPH + "b\tknows\td\n")
    Path("wrong.csv").write_text("tail,head,relation\nd,a,knows\na,nobody,knows\n")
    who = "--head", "a", "--relation", "knows"
    assert {line[2] for line in ranked("more.tsv", *who)[1:]} == {"b", "d"}
    assert [line[2] for line in ranked("more.tsv", *who, "--range", "seen")[1:]] == ["d"]
    status, out, err = run("rank", "more.tsv", *who, "--exclude", "wrong.csv", *MODEL)
    assert (status, "the graph lacks a name of 1 of 2 triples" in err, " d " in out) == (0, True, False), err
    status, _, err = run("rank", "more.tsv", *who, "--range", "type", *MODEL)
    assert (status, "no fact says what kind an entity is" in err) == (2, True)
    more = "--relation", "knows", "-k", 9, "--also-second", *MODEL
    for name, how in (("all.csv", ()), ("some.csv", ("--range", "seen")), ("less.csv", ("--exclude", "wrong.csv"))):
        assert run("complete", "more.tsv", "-o", name, *more, *how)[0] == 0
    every, some, less = (pl.read_csv(name) for name in ("all.csv", "some.csv", "less.csv"))
    assert set(some["tail"]) == {"c", "d"} < set(every["tail"])
    assert set(every["head", "tail"].rows()) - set(less["head", "tail"].rows()) == {("a", "d")}


VERBS = {
    "rank": ("rank", "ok.tsv", "--queries", "q.tsv", *MODEL),
    "score": ("score", "ok.tsv", "t.tsv", *MODEL),
    "complete": ("complete", "ok.tsv", *MODEL),
}


@pytest.fixture
def interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a verb with a part for each question, and presses Ctrl-C when two parts are there."""
    Path("q.tsv").write_text("c\tlikes\na\tknows\na\tlikes\nb\tlikes\n")
    Path("t.tsv").write_text("c\tlikes\tb\na\tlikes\tb\na\tknows\tb\n")
    for name in ("cli.rank.PART_FACTS", "cli.rank.PART_QUERIES", "cli.complete.PART_QUERIES"):
        monkeypatch.setattr(f"trivium.{name}", 1)

    def call(*words: str) -> None:
        with monkeypatch.context() as patch:
            for name in ("rank_ids", "score_ids"):
                original = getattr(Ranker, name)

                def interrupted(*words: Any, original: Any = original, **more: Any) -> Any:
                    if len(list(Path(".o.csv.parts").glob("*.parquet"))) == 2:
                        raise KeyboardInterrupt
                    return original(*words, **more)

                patch.setattr(Ranker, name, interrupted)
            status, _, err = run(*words, "-o", "o.csv")
        assert status == 130
        assert err.splitlines()[-1].startswith("trivium: interrupted; the same command goes on where it can")
        assert not Path("o.csv").exists()
        assert len(list(Path(".o.csv.parts").glob("*.parquet"))) == 2

    return call


@pytest.mark.parametrize("verb", VERBS)
def test_an_interrupted_verb_goes_on(run: Run, interrupt: Callable[..., None], verb: str) -> None:
    assert run(*VERBS[verb], "-o", "all.csv")[0] == 0
    interrupt(*VERBS[verb])
    for part in Path(".o.csv.parts").glob("*.parquet"):  # that these are taken up shows in what they hold
        rows, body = pl.read_parquet(unsealed(part) or b""), BytesIO()
        rows.with_columns(score=pl.lit(77, pl.Float32)).write_parquet(body)
        part.write_bytes(sealed(body.getvalue()))
    assert run(*VERBS[verb], "-o", "o.csv")[0] == 0
    table, whole = pl.read_csv("o.csv"), pl.read_csv("all.csv")
    assert 0 < table.filter(pl.col("score") == 77).height < whole.height
    assert table.sort(table.columns[:4]).drop("score").equals(whole.sort(whole.columns[:4]).drop("score"))
    assert not Path(".o.csv.parts").exists()
    Path("o.csv").unlink()
    interrupt(*VERBS[verb])
    assert run(*VERBS[verb], "-o", "o.csv")[0] == 0
    assert Path("o.csv").read_bytes() == Path("all.csv").read_bytes()


@pytest.mark.parametrize("verb", VERBS)
def test_parts_of_another_request_are_not_taken_up(run: Run, interrupt: Callable[..., None], verb: str) -> None:
    interrupt(*VERBS[verb])
    if verb == "score":
        Path("t.tsv").write_text("c\tlikes\tb\na\tlikes\tb\n")
    else:
        save_checkpoint(Trivium(SMALL), Provenance(training_data={}), "model.safetensors", force=True)
    assert run(*VERBS[verb], "-o", "all.csv")[0] == 0
    status, _, err = run(*VERBS[verb], "-o", "o.csv")
    assert (status, "keeps parts of other requests" in err) == (0, True)
    assert Path("o.csv").read_bytes() == Path("all.csv").read_bytes()


def test_one_of_the_named_graphs(run: Run, ranked: Ranked) -> None:
    Path("g.trig").write_text("@prefix : <x:> . :one { :a :r :b } :two { :a :r :c . :b :s :c }")
    alone = ("--named-graph", "x:one")
    assert "x:s" in run("info", "g.trig")[1]
    assert "x:s" not in run("info", "g.trig", *alone)[1]
    question = ("--head", "x:a", "--relation", "x:r", "--include-known")
    assert {tail for _, _, tail, *_ in ranked("g.trig", *question)[1:]} == {"x:b", "x:c"}
    assert {tail for _, _, tail, *_ in ranked("g.trig", *question, *alone)[1:]} == {"x:b"}


def test_files_hold_names_and_the_terminal_shows_labels(ranked: Ranked) -> None:
    Path("g.ttl").write_text(
        "@prefix : <x:> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        ':a :r :b . :b :r :c . :r rdfs:label "knows" . :a rdfs:label "Ann" . :c rdfs:label "Cy" .\n'
    )
    question = ("--head", "Ann", "--relation", "knows")
    assert ranked("g.ttl", *question)[1][:3] == ["Ann", "knows", "Cy"]
    ranked("g.ttl", *question, "-o", "o.csv")
    assert pl.read_csv("o.csv").select("head", "relation", "tail").row(0) == ("x:a", "x:r", "x:c")


def test_many_unknown_names_are_counted(run: Run) -> None:
    Path("t.tsv").write_text("a\tlikes\tc\n" + "".join(f"z{i}\tlikes\tc\n" for i in range(50)))
    status, _, err = run("score", "ok.tsv", "t.tsv", *MODEL)
    assert status == 0
    assert len(err.splitlines()) == 21
    assert "t.tsv: 30 more lines with unknown names: skipped" in err


def test_a_name_that_no_tsv_can_hold_is_found_before_the_work(run: Run) -> None:
    pl.DataFrame({"head": ["a\tb", "c"], "relation": ["r", "r"], "tail": ["c", "d"]}).write_parquet("odd.parquet")
    status, _, err = run("complete", "odd.parquet", "-o", "x.tsv", *MODEL)
    assert (status, "cannot stand in a TSV" in err) == (2, True)
    assert not Path(".x.tsv.parts").exists()


def test_complete_asks_for_yes_beyond_an_hour(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivium.cli.complete.HOUR", -1.0)
    status, _, err = run("complete", "ok.tsv", "-o", "all.tsv", *MODEL)
    assert status == 2
    assert "--yes" in err
    assert run("complete", "ok.tsv", "-o", "all.tsv", "--yes", *MODEL)[0] == 0


def test_an_index_is_a_graph(run: Run, ranked: Ranked) -> None:
    assert run("index", "ok.tsv", "-o", "ok.trivium")[0] == 0
    assert ranked("ok.trivium", *LIKES) == ranked("ok.tsv", *LIKES)


def test_a_csv_names_its_columns(run: Run, ranked: Ranked) -> None:
    rows = (line.split("\t") for line in GRAPH.splitlines())
    Path("facts.csv").write_text("object,note,subject,kind\n" + "".join(f"{t},x,{h},{r}\n" for h, r, t in rows))
    assert ranked("facts.csv", *LIKES, "--columns", "subject,kind,object") == ranked("ok.tsv", *LIKES)
    assert run("info", "facts.csv", "--columns", "subject,kind")[0] == 2


def test_info_describes_graphs_checkpoints_and_flags(run: Run) -> None:
    Path("f.yaml").write_text("similarity_enhancer_weight: 0.2\nmax_hops: 2\n")
    for words, expected in (
        (["ok.tsv"], ("triples", "likes")),
        (["model.safetensors"], ("parameters", "similarity", "prompt", "0.4")),
        (["--flags", "f.yaml"], ("0.5", "0.1", "0.4", "prompt_max_hops")),
    ):
        out = run("info", *words)[1]
        assert all(word in out for word in expected)


def test_synthesize_then_rank(run: Run, ranked: Ranked) -> None:
    status, _, err = run("synthesize", "-o", "s.tsv", "--entities", "60", "--relations", "3", "--rules", "3")
    assert status == 0
    assert re.fullmatch(r"s\.tsv: \d+ triples, \d+ entities, \d+ relations\n", err)
    head, relation, _ = Path("s.tsv").read_text().splitlines()[0].split("\t")
    assert ranked("s.tsv", "--head", head, "--relation", relation)


def test_pretrain_and_use_the_result(run: Run) -> None:
    Path("c.yaml").write_text(
        "sources:\n  - name: ok.tsv\n  - name: synthetic\nsteps: 3\nsave_every: 1\nmin_entities: 3\nmax_entities: 60\n"
        "model: {dim: 32, layers: 2, structure_steps: 2, structure_layers: 1}\n"
    )
    assert run("pretrain", "c.yaml")[0] == 0
    status, out, _ = run("info", "runs/c/checkpoint.safetensors")
    assert status == 0
    assert "trained on ok.tsv" in out
    assert run("pretrain", "--resume", "runs/c")[0] == 0


def test_control_characters_do_not_reach_the_terminal(ranked: Ranked) -> None:
    Path("odd.tsv").write_text("a\x1b[31m\tlikes\t<b>b</b>\n\u202eevil\tlikes\tc\n")
    printed = {word for line in ranked("odd.tsv", "--head", "\u202eevil", "--relation", "likes") for word in line}
    assert not any("\x1b" in word or "\u202e" in word for word in printed)
    assert "<b>b</b>" in printed


@pytest.mark.data
def test_evaluate_writes_json_for_machines(run: Run, data: Path) -> None:
    words = ("evaluate", "NELLInductive:v1", "--data-dir", str(data), "--json", "e.json", "--sample", "60", *MODEL)
    status, out, _ = run(*words)
    assert status == 0
    assert "NELLInductive:v1" in out
    (row,) = json.loads(Path("e.json").read_text())
    assert row["queries"] == 60
    assert row["seconds"] > 0
    assert "leakage" in row
    assert row["interval"][0] <= row["pessimistic"]["mrr"] <= row["interval"][1]
    for policy in ("optimistic", "realistic", "pessimistic"):
        assert set(row[policy]) == {"queries", "mrr", "mean_rank", "hits_at_1", "hits_at_3", "hits_at_10"}
    assert row["optimistic"]["mrr"] >= row["realistic"]["mrr"] >= row["pessimistic"]["mrr"]
    assert run(*words)[0] == 2  # never over an existing file


DENSE = random_graph(0, entities=30, relations=3, triples=400)


def test_explain_in_words_as_json_and_as_a_picture(run: Run) -> None:
    words = ("explain", "ok.tsv", "--head", "b", "--relation", "likes", "--tail", "a", *MODEL)
    status, out, err = run(*words, "--png", "why.png")
    assert (status, err) == (0, "")
    assert out.startswith("b likes a: score ")
    assert Path("why.png").read_bytes().startswith(b"\x89PNG")
    assert run(*words, "--png", "why.png")[0] == 2
    content = json.loads(run(*words, "--json")[1])
    assert content["words"] == out.splitlines()
    assert "of the exact score: leave --reach out" in run(*words, "--reach", 2)[2]
    turned = json.loads(run(*words, "--json", "--asked", "head")[1])
    assert (turned["head"], turned["tail"], turned["asked"]) == ("b", "a", "head")
    Path("apart.tsv").write_text("a\tlikes\tb\nc\tlikes\td\n")
    words = ("explain", "apart.tsv", "--head", "a", "--relation", "likes", "--tail", "d", *MODEL)
    assert "No path of at most 2 facts leads from a to d" in run(*words)[1]


def test_calibrate_then_rank_score_and_complete(run: Run, ranked: Ranked) -> None:
    write_triples(Path("d.tsv"), DENSE.triples)
    status, out, _ = run("calibrate", "d.tsv", "-o", "c.json", "--png", "c.png", "--share", "0.3", *MODEL)
    assert status == 0
    assert "judged by the global fit" in out
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")
    sure = ("--calibration", "c.json", *MODEL)
    header, *lines = ranked("d.tsv", "--head", "e1", "--relation", "r0", "--calibration", "c.json")
    assert header[:6] == ["head", "relation", "tail", "rank", "score", "confidence"]
    assert all(0 < float(line[5]) < 1 for line in lines)
    Path("t.tsv").write_text("e1\tr0\te2\n")
    assert "confidence" in run("score", "d.tsv", "t.tsv", *sure)[1]
    assert run("complete", "d.tsv", "-o", "all.parquet", *sure)[0] == 0
    links = pl.read_parquet("all.parquet")
    least = float(links["confidence"].quantile(0.7) or 0)
    assert run("complete", "d.tsv", "-o", "sure.parquet", "--min-confidence", str(least), *sure)[0] == 0
    assert pl.read_parquet("sure.parquet").equals(links.filter(pl.col("confidence") >= least))
    assert 0 < len(pl.read_parquet("sure.parquet")) < len(links)
    status, _, err = run("rank", "ok.tsv", *LIKES, *sure)
    assert (status, "made for another graph" in err) == (2, True)


def test_a_data_set_of_ones_own_is_measured_and_fitted(run: Run) -> None:
    facts = DENSE.triples
    for split, part in (("train", facts[::2]), ("valid", facts[1::4]), ("test", facts[3::4])):
        write_triples(Path(f"data/Mine/{split}.txt"), part)
    for words in (("evaluate",), ("benchmark", "-o", "found")):
        status, out, err = run(*words, "Mine", "--data-dir", "data", *MODEL)
        assert status == 0, err
        assert "Mine" in out
    where = ("--data-dir", "data", "--steps", "2", "-o", "fitted.safetensors")
    status, _, err = run("finetune", "Mine", *where, *MODEL)
    assert status == 0, err
    assert "Mine" in load_checkpoint("runs/fitted/fit/checkpoint.safetensors")[1].training_data
    assert Path("fitted.safetensors").exists()


def test_what_is_known_to_be_wrong_is_no_rival(run: Run) -> None:
    for split, text in (("train", GRAPH), ("test", "b\tknows\ta\n")):
        Path("data/Own").mkdir(parents=True, exist_ok=True)
        Path(f"data/Own/{split}.txt").write_text(text)
    Path("wrong.tsv").write_text("b\tknows\tb\nb\tknows\tc\nc\tknows\ta\na\tknows\ta\n")
    words = "evaluate", "Own", "--data-dir", "data", "--json", "found.json", "--force", *MODEL
    figures = []
    for how in ((), ("--exclude", "wrong.tsv")):
        assert run(*words, *how)[0] == 0
        figures.append(json.loads(Path("found.json").read_text())[0]["pessimistic"]["mrr"])
    assert figures[0] < figures[1] == 1  # nobody else is left


def test_a_data_set_of_ones_own_is_asked_as_its_graph_is(run: Run) -> None:
    names = ["goes to", "leads away from", "lies beside"]
    for folder, called in (("Named", names), ("Coded", ["P1", "P2", "P3"])):
        for split, part in (("train", DENSE.triples[::2]), ("test", DENSE.triples[1::2])):
            lines = [f"e{h}\t{called[r % 3]}\te{t}\n" for h, r, t in part.tolist()]
            Path("data", folder).mkdir(parents=True, exist_ok=True)
            Path(f"data/{folder}/{split}.tsv").write_text("subject\tpredicate\tobject\n" + "".join(lines))
    Path("data/Coded/relations.tsv").write_text("".join(f"P{i}\t{name}\n" for i, name in enumerate(names, 1)))
    with_text = ("--data-dir", "data", "--json", "found.json", "--force", *MODEL)
    assert run("evaluate", "Named", "Coded", *with_text)[0] == 0
    named, coded = json.loads(Path("found.json").read_text())
    assert named["pessimistic"] == coded["pessimistic"]
    Path("data/Coded/test.tsv").write_text(Path("data/Coded/train.tsv").read_text())
    err = run("evaluate", "Coded", *with_text)[2]
    assert re.search(r"Coded: (\d+) of \1 asked facts are in the graph that they are asked on", err)


FACTS = [(f"x:e{i * 7 % 41}", f"x:r{i % 3}", f"x:e{(i * i + i // 41) % 41}") for i in range(450)]
TABLE = [f"{h}\t{r}\t{t}" for h, r, t in FACTS]
NTRIPLES = "".join(f"<{h}> <{r}> <{t}> .\n" for h, r, t in FACTS)
SPARQL = {"bindings": [{k: {"type": "uri", "value": v} for k, v in zip("spo", fact, strict=True)} for fact in FACTS]}
KINDS = {
    "plain.tsv": "\n".join(TABLE),
    "semicolons.csv": "Subject;Predicate;Object\n" + "\n".join(TABLE).replace("\t", ";"),
    "kgtk.tsv": "id\tnode1\tlabel\tnode2\n" + "".join(f"{i}\t{line}\n" for i, line in enumerate(TABLE)),
    "hetionet.tsv": "source\tmetaedge\ttarget\n" + "\n".join(TABLE),
    "neo4j.csv": ":START_ID,:TYPE,:END_ID\n" + "\n".join(TABLE).replace("\t", ","),
    "kgx.tsv": "subject\tobject\tpredicate\n" + "".join(f"{h}\t{t}\t{r}\n" for h, r, t in FACTS),
    "results.srj": json.dumps({"head": {"vars": ["s", "p", "o"]}, "results": SPARQL}),
    "lines.jsonl": "".join(json.dumps({"head": h, "relation": r, "tail": t}) + "\n" for h, r, t in FACTS),
    "dump.nt": NTRIPLES + '<x:e1> <http://www.w3.org/2000/01/rdf-schema#label> "One"@en .\n',
    "turtle.ttl": "@prefix x: <x:> .\n" + NTRIPLES.replace("<", "").replace(">", ""),
    "blanks.txt": "# a list\n" + "\n".join(TABLE).replace("\t", "  "),
}


@pytest.mark.parametrize("name", KINDS)
def test_files_of_every_kind_go_all_the_way(run: Run, name: str) -> None:
    Path(name).write_text(KINDS[name])
    status, out, err = run("info", name)
    assert status == 0, err
    assert re.search(rf"^triples +{len(set(FACTS))}\b", out, re.MULTILINE)
    head, relation, _ = FACTS[1]
    assert run("rank", name, "--head", head, "--relation", relation, "-k", 3, *MODEL)[0] == 0
    status, _, err = run("calibrate", name, "-o", "c.json", *MODEL)
    assert status == 0, err
    status, _, err = run("complete", name, "-o", "out.tsv", "-k", 1, "--calibration", "c.json", *MODEL)
    assert status == 0, err
    assert run("score", name, "out.tsv", *MODEL)[0] == 0


def test_pairs_that_are_wrong_are_joined_by_what_is_asked(run: Run) -> None:
    Path("pairs.txt").write_text("a b\nb c\nc d\n")
    Path("wrong.txt").write_text("a c\n")
    asked = "pairs.txt", "--head", "a", "--relation", "knows", "--exclude", "wrong.txt", *MODEL
    status, out, err = run("rank", *asked)
    assert (status, [line.split()[2] for line in out.splitlines()[1:]]) == (0, ["d"]), err
    status, _, err = run("explain", "--tail", "d", *asked)
    assert status == 0, err
