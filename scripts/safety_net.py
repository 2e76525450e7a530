"""Guards a refactoring: keeps what every verb says and 200 raw scores of six graphs, and compares them bit for bit.

    python scripts/safety_net.py save FOLDER [--python PY] [--source TREE/src] [--data DIR]
    python scripts/safety_net.py compare FOLDER [--python PY] [--source TREE/src] [--data DIR] [--only PART ...]

`save` runs everything in FOLDER, which must not be there yet: a folder of each case holds its command, exit status,
standard output, standard error and whatever it wrote. `compare` runs it all again in a temporary folder and says what
differs; its exit status is then 1. Files are kept as they are; only `compare` overlooks what `VOLATILE` names. Parts
are `scores`, `serve` and the graphs: demo rdf codex nell wn hm.

What a tree compiles and encodes is cached in the system's temporary folder, under a hash of the whole tree: kernels and
vectors of other code never answer for it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
WORLD = ROOT / "src" / "trivium" / "demo" / "world.tsv"
DATA_SETS = {
    "codex": "CoDExSmall/train",
    "nell": "NELLInductive/v2/inference",
    "wn": "WN18RRInductive/v1/inference",
    "hm": "HM/1k/inference",
}
TIMEOUT = 1800  # seconds that one command may take

VOLATILE = (
    (rb"(questions, about) [\d.]+ (?:seconds|minutes|hours)", rb"\1 _"),  # the estimate of `complete`
    (rb'("seconds": )[\d.e+-]+', rb"\1_"),  # in metrics.jsonl and in the JSON of `evaluate` and `benchmark`
    (rb"(?m)^(\S+ +\d+(?: +(?:\d\.\d{3}|-)){6}) +[\d.]+$", rb"\1 _"),  # the same, the last column of `evaluate`
    (rb"(?m)^(\S+ \S+: [\d.]+ / [\d.]+), \d+ s$", rb"\1 _"),  # the same, what `benchmark` says as it goes
    (rb'("loaded_at": ?)[\d.e+]+', rb"\1_"),  # /api/info: when the graph was read
    (rb"(http://127\.0\.0\.1:)\d+", rb"\1_"),  # `serve --port 0` takes a free port
    (rb"(checkpoint-)[0-9a-f]{12}", rb"\1_"),  # `benchmark` hashes the file of a trained checkpoint, see `plain`:
    (rb'(?m)^(  "checkpoint": ")[0-9a-f]{64}', rb"\1_"),  # in a folder's name and in JSON; that of `calibrate` stays
    (rb"(?m)^Matplotlib is building the font cache.*\n", b""),  # the first time alone, and only if it takes long
)

FLAGS = "similarity_enhancer_weight: 0.2\nmax_hops: 2\n"
TINY = """\
sources: [{name: demo.tsv, weight: 0.7}, {name: synthetic, weight: 0.3}]
model: {dim: 32, layers: 3, prompt_dim: 16, prompt_layers: 2, text_encoder: all-MiniLM-L6-v2@53aa51172d14}
min_entities: 100\nmax_entities: 300
"""
# A case, the graphs on which it runs, and its command; braces name what `questions` gives.
CASES = """\
info       | demo codex nell wn hm rdf | info {graph}
tails      | demo nell rdf | rank {graph} --queries {g}.tails.tsv -k 5 -o {out}/answers.csv
heads      | wn   | rank {graph} --queries {g}.heads.tsv -k 4 --include-known
candidates | codex | rank {graph} --queries {g}.heads.tsv --candidates {g}.names.txt -o {out}/answers.jsonl
head       | rdf  | rank {graph} --head {head} --relation {relation}
tail       | demo | rank {graph} --relation {relation} --tail {tail} -k 20 --include-known
words      | demo | rank {graph} --head {head} --relation-text {words}
unknown    | demo | rank {graph} --head {words} --relation {relation}
score      | wn   | score {graph} {g}.triples.tsv
scored     | demo | score {graph} {g}.triples.tsv -o {out}/scored.csv
complete   | rdf  | complete {graph} --relation {rare} -k 3 -o {out}/links.csv
calibrate  | demo nell rdf | calibrate {graph} --most 80 -o {sure}
sure       | nell | rank {graph} --queries {g}.tails.tsv --calibration {sure}
surest     | demo | complete {graph} --relation {rare} --calibration {sure} --min-confidence 0.1 -o {out}/links.csv
explain    | demo rdf | explain {graph} --head {head} --relation {relation} --tail {tail} --png {out}/why.png
reasons    | codex | explain {graph} --head {head} --relation {relation} --tail {tail} --asked head --json
index      | hm rdf | index {graph} -o {out}/graph.trivium
indexed    | hm   | rank {g}-index/graph.trivium --head {head} --relation {relation}
datasets   | demo | datasets
checkpoint | demo | info trivium
flags      | demo | info --flags flags.yaml
synthesize | demo | synthesize --seed 3 --entities 200 --relations 6 --rules 5 -o {out}/made.tsv
overlap    | wn   | overlap WN18RR WN18RRInductive:v1 --data-dir data
import     | wn   | import data/checkpoints/ultra_3g.pth -o {out}/ultra.safetensors
evaluate   | hm   | evaluate HM:1k NELLInductive:v2 --data-dir data --sample 30 --groups --json {out}/figures.json
pretrain   | demo | pretrain tiny.yaml --run {out}/run
finetune   | demo | finetune {graph} --only fusion --steps 3 --valid {g}.triples.tsv --run {out}/run -o {fine}
weights    | demo | weights {g}-pretrain/run {g}-finetune/run trivium -o {out}/w.png --table {out}/w.csv
benchmark  | demo | benchmark NELLInductive:v2 --valid --sample 20 --checkpoint {tiny} --data-dir data -o {out}/found
"""

SCORES = """\
import hashlib, sys
import numpy as np
import trivium

for path in sys.argv[1:]:
    if hasattr(trivium.Ranker, "open"):
        ranker = trivium.Ranker.open(path, "trivium")
    else:  # older code
        read = trivium.read_graph if hasattr(trivium, "read_graph") else trivium.Graph.read
        ranker = trivium.Ranker(trivium.Trivium.load("trivium"), read(path))
    rng = np.random.default_rng(7)
    heads = rng.integers(ranker.graph.num_entities, size=200)
    relations = rng.integers(2 * ranker.graph.num_relations, size=200)
    digests, first = np.zeros(200, "S64"), np.zeros((200, 50), np.float32)
    for places, rows, scores in ranker.blocks(heads, relations):
        for place, row in zip(places, rows, strict=True):
            answer = np.ascontiguousarray(scores[int(row)].detach().numpy())
            digests[place], first[place] = hashlib.sha256(answer.tobytes()).hexdigest(), answer[:50]
    assert digests.all()
    np.savez(f"scores/{path}.npz", heads=heads, relations=relations, digests=digests, first=first)
"""

Triples = list[tuple[str, str, str]]


def inputs(folder: Path, data: Path, world: Path) -> dict[str, dict[str, str]]:
    """Writes graphs, questions and configurations, and says by graph what the braces in `CASES` stand for."""
    (folder / "flags.yaml").write_text(FLAGS, "utf-8")
    (folder / "tiny.yaml").write_text(TINY, "utf-8")
    (folder / "data").symlink_to(data.resolve())  # so that no output names where the data is
    graphs = {"demo": world.read_text("utf-8")}
    graphs |= {g: gzip.decompress((data / f"{place}.txt.gz").read_bytes()).decode() for g, place in DATA_SETS.items()}
    found = {}
    for g, text in graphs.items():
        (folder / f"{g}.tsv").write_text(text, "utf-8")
        triples = [(h, r, t) for h, r, t in (line.split("\t") for line in text.splitlines())]
        found[g] = {"graph": f"{g}.tsv"} | questions(folder, g, triples)
        if g == "demo":
            found["rdf"] = {"graph": "rdf.ttl"} | questions(folder, "rdf", write_rdf(folder / "rdf.ttl", triples))
    return found


def write_rdf(path: Path, triples: Triples) -> Triples:
    """Writes the triples as Turtle. Returns them by the labels that name one thing, and by IRI where there is none.

    Of 50 entities one has no label and one a label that it shares.
    """
    things = {name: i for i, name in enumerate(sorted({name for h, _, t in triples for name in (h, t)}))}
    kinds = {name: i for i, name in enumerate(sorted({r for _, r, _ in triples}))}
    lines = ["@prefix e: <http://example.org/e/> .", "@prefix r: <http://example.org/r/> ."]
    lines += ["@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> ."]
    labels = {f"r:{i}": name for name, i in kinds.items()}
    labels |= {f"e:{i}": "a twin" if i % 50 == 1 else name for name, i in things.items() if i % 50}
    lines += [f"{node} rdfs:label {json.dumps(label, ensure_ascii=False)} ." for node, label in labels.items()]
    lines += [f"e:{things[h]} r:{kinds[r]} e:{things[t]} ." for h, r, t in triples]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    asked = {name: name if i % 50 > 1 else f"http://example.org/e/{i}" for name, i in things.items()}
    return [(asked[h], r, asked[t]) for h, r, t in triples]


def questions(folder: Path, g: str, triples: Triples) -> dict[str, str]:
    """Writes a graph's questions, candidates, and triples that it holds and that it does not; names what is asked."""
    some = random.Random(g).sample(triples, 80)
    files = {
        "tails.tsv": [f"{h}\t{r}" for h, r, _ in some[:12]] + [f"nobody\t{some[0][1]}"],
        "heads.tsv": ["relation\ttail"] + [f"{r}\t{t}" for _, r, t in some[12:24]],
        "triples.tsv": ["\t".join(triple) for triple in some[:4]]
        + [f"{h}\t{r}\t{t}" for (h, r, _), (_, _, t) in zip(some[4:8], some[8:12], strict=True)],
        "names.txt": sorted({h for h, _, _ in some}),
    }
    for kind, lines in files.items():
        (folder / f"{g}.{kind}").write_text("\n".join(lines) + "\n", "utf-8")
    rare = min((n, r) for r, n in Counter(r for _, r, _ in triples).items() if n >= 20)[1]
    return dict(zip(("head", "relation", "tail"), some[0], strict=True)) | {
        "g": g,
        "rare": rare,
        "words": "shares a frontier with",
        "sure": f"{g}-calibrate/calibration.json",
        "tiny": f"{g}-pretrain/run/checkpoint.safetensors",
        "fine": f"{g}-finetune/fine.safetensors",
    }


class Runner:
    """Runs commands in a folder, on the code of a source tree, and keeps what they say in a folder of each case."""

    def __init__(self, folder: Path, python: str, source: Path) -> None:
        self.folder, self.python = folder, python
        tree = hashlib.sha256()
        for path in sorted(p for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            tree.update(f"{path.relative_to(source)}\0".encode() + path.read_bytes())
        cache = Path(tempfile.gettempdir(), f"trivium-net-{tree.hexdigest()[:16]}")
        paths = {"PYTHONPATH": source.resolve(), "XDG_CACHE_HOME": cache, "NUMBA_CACHE_DIR": cache / "numba"}
        self.environment = os.environ | {name: str(path) for name, path in paths.items()}

    def start(self, name: str, words: list[str], threads: int = 1) -> subprocess.Popen[bytes]:
        """Starts Python on words."""
        out = self.folder / name
        out.mkdir()
        environment = self.environment | dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        (out / "command.txt").write_text(shlex.join(words) + "\n", "utf-8")
        with (out / "stdout.txt").open("wb") as said, (out / "stderr.txt").open("wb") as warned:
            command = [self.python, *words]
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=said, stderr=warned)

    def end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Waits for a case, and keeps its exit status."""
        try:
            status = process.wait(TIMEOUT)
        finally:
            process.kill()
        (self.folder / name / "status.txt").write_text(f"{status}\n", "utf-8")
        print(f"{name}: status {status}", flush=True)

    def cases(self, g: str, given: Mapping[str, str]) -> None:
        """Runs a graph's cases, one after the other: some read what those before them wrote."""
        for verb, graphs, command in (map(str.strip, line.split("|")) for line in CASES.splitlines()):
            if g in graphs.split():
                words = [word.format(**given, out=f"{g}-{verb}") for word in command.split()]
                self.end(f"{g}-{verb}", self.start(f"{g}-{verb}", ["-m", "trivium", *words]))

    def serve(self, given: Mapping[str, str]) -> None:
        """Starts the service, asks it, and keeps its answers."""
        out, until = self.folder / "serve", time.monotonic() + TIMEOUT
        process = self.start("serve", f"-m trivium serve {given['graph']} --port 0 --max-seconds 600".split())
        try:
            ready = False
            while not ready and process.poll() is None and time.monotonic() < until:
                time.sleep(0.5)
                homes = re.findall(r"http://\S+\d(?=\n)", (out / "stderr.txt").read_text("utf-8"))
                ready = bool(homes) and ask(f"{homes[0]}/ready").startswith(b"200")
            if ready:
                for name, path, body in requests(given):
                    (out / f"{name}.json").write_bytes(ask(homes[0] + path, body))
        finally:
            process.terminate()
            self.end("serve", process)


def requests(given: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    """Name, path and body of what the service is asked."""
    head, relation, tail = given["head"], given["relation"], given["tail"]
    tails, fact = {"head": head, "relation": relation}, {"head": head, "relation": relation, "tail": tail}
    heads = {"relation": relation, "tail": tail, "k": 4, "include_known": True}
    quote = urllib.parse.quote
    yield "rank-tails", "/api/rank", tails
    yield "rank-heads", "/api/rank", heads
    yield "rank-unknown", "/api/rank", tails | {"head": "nobody"}
    yield "batch", "/api/batch/rank", {"questions": [tails, heads]}
    yield "score", "/api/score", {"triples": [fact, {"head": tail, "relation": relation, "tail": head}]}
    yield "explain", "/api/explain", fact
    yield "explain-inverse", "/api/explain", fact | {"inverse": True, "paths": 3}
    yield "search", f"/api/search?q={quote(head[:3])}", None
    yield "search-relation", "/api/search?q=l&kind=relation", None
    yield "entity", f"/api/entity?name={quote(head)}&limit=20", None
    yield "info", "/api/info", None
    yield "openapi", "/openapi.json", None


def ask(address: str, body: object = None) -> bytes:
    """The status and the reply, a refusal's too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
            return f"{reply.status}\n".encode() + bytes(reply.read())
    except urllib.error.HTTPError as error:
        return f"{error.code}\n".encode() + error.read()
    except OSError as error:
        return f"{error}\n".encode()


def record(folder: Path, runner: Runner, given: Mapping[str, Mapping[str, str]], only: Collection[str] = ()) -> None:
    """Runs everything in a folder: the raw scores first, which compiles the kernels, then two graphs at a time.

    Args:
        given: from `inputs`.
        only: the parts to run; all if there is none.
    """
    if not only or "scores" in only:
        words = ["-c", SCORES, *(values["graph"] for values in given.values())]
        runner.end("scores", runner.start("scores", words, threads=2))
    with ThreadPoolExecutor(2) as pool:
        chosen = [g for g in given if not only or g in only]
        list(pool.map(runner.cases, chosen, [given[g] for g in chosen]))
    if not only or "serve" in only:
        runner.serve(given["demo"])
    (folder / "data").unlink()


def plain(content: bytes, ending: str = "") -> bytes:
    """A file's content, or its name, less what differs from run to run.

    The header of a .safetensors file is JSON with its keys in any order; they are sorted.
    """
    if ending == ".safetensors":
        body = 8 + int.from_bytes(content[:8], "little")
        return json.dumps(json.loads(content[8:body]), sort_keys=True).encode() + content[body:]
    for pattern, instead in VOLATILE:
        content = re.sub(pattern, instead, content)
    return content


def difference(name: str, before: bytes, now: bytes) -> list[str]:
    """Lines that say how two contents of a file differ; none if they do not."""
    ending = Path(name).suffix
    if before == now or plain(before, ending) == plain(now, ending):
        return []
    if ending == ".npz":
        old, new = np.load(io.BytesIO(before)), np.load(io.BytesIO(now))
        queries = int((old["digests"] != new["digests"]).sum())
        most = float(np.abs(old["first"] - new["first"]).max())
        return [f"  {queries} of {len(old['digests'])} queries; scores by up to {most:.3g} among the first 50"]
    try:
        pairs = zip_longest(*(plain(content).decode().split("\n") for content in (before, now)))
        lines = [f"  line {i}\n    - {a}\n    + {b}" for i, (a, b) in enumerate(pairs, 1) if a != b]
        return [*lines[:3], *([f"  and {len(lines) - 3} more lines"] if len(lines) > 3 else [])]
    except UnicodeDecodeError:
        changed = sum(old != new for old, new in zip(before, now, strict=False))
        return [f"  {len(before):,} bytes before, {len(now):,} now; {changed:,} are others"]


def compare(before: Path, now: Path) -> int:
    """Says which files differ between two folders, and returns how many. Cases that were not run again do not count."""
    old, new = (
        {plain(bytes(path.relative_to(folder))).decode(): path for path in folder.rglob("*") if path.is_file()}
        for folder in (before, now)
    )
    old = {name: path for name, path in old.items() if (now / Path(name).parts[0]).exists()}
    count = 0
    for name in sorted(old | new):
        lines = ["  only " + ("now" if name in new else "before")]
        if name in old and name in new:
            lines = difference(name, old[name].read_bytes(), new[name].read_bytes())
        if lines:
            count += 1
            print("\n".join([f"differs: {name}", *lines]))
    print(f"{count} of {len(old | new)} files differ")
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("save", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable, help="the interpreter to run")
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the folder that holds the package")
    parser.add_argument("--data", type=Path, default=os.environ.get("TRIVIUM_DATA"), help="the folder of data sets")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="compare no more than these parts")
    chosen = parser.parse_args()
    python = str(Path(shutil.which(chosen.python) or chosen.python).absolute())
    if chosen.data is None or not (chosen.source / "trivium").is_dir():
        parser.error("give --data DIR or set TRIVIUM_DATA, and --source a folder that holds trivium")
    if chosen.what == "save":
        chosen.folder.mkdir(parents=True)
        record(chosen.folder, Runner(chosen.folder, python, chosen.source), inputs(chosen.folder, chosen.data, WORLD))
        return 0
    if not (chosen.folder / "scores").is_dir():
        parser.error(f"{chosen.folder} holds nothing to compare with: save it first")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = inputs(folder, chosen.data, chosen.folder / "demo.tsv")
        record(folder, Runner(folder, python, chosen.source), given, chosen.only)
        return 1 if compare(chosen.folder, folder) else 0


if __name__ == "__main__":
    sys.exit(main())
