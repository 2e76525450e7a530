"""A crash at every touch of the disk: the same call, made again, ends as if nothing had been, and leaves nothing else.

A crash is an exception that no code of ours catches, after which nothing more reaches the disk: what a kill leaves.
Locks end with it, as the system ends those of a process. A write that was under way is torn.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import polars as pl
import pytest
import yaml

from tests.conftest import SMALL, random_graph, run_command, small_model, small_training, write_triples
from tests.evaluation.test_benchmark import result
from trivium.files import write_whole
from trivium.graph.index import save_index
from trivium.inference.parts import write_in_parts
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint
from trivium.training import ablation
from trivium.training.ablation import BASE
from trivium.training.pretrain import pretrain
from trivium.training.run import METRICS, STATE, RunFolder


class Crash(BaseException):
    """The machine is gone."""


class Disk:
    """Counts touches of the disk, and is dead from one of them on."""

    def __init__(self, last: int) -> None:
        self.last, self.touches = last, 0
        self.locks: list[Any] = []

    def touch(self) -> None:
        self.touches += 1
        if self.touches >= self.last:
            raise Crash

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        fsync, log = os.fsync, RunFolder.log

        def torn_sync(handle: int) -> None:
            try:
                self.touch()
            except Crash:
                if self.touches == self.last:
                    os.ftruncate(handle, os.fstat(handle).st_size // 2)
                raise
            fsync(handle)

        def torn_log(run: RunFolder, row: dict[str, Any]) -> None:
            try:
                self.touch()
            except Crash:
                if self.touches == self.last:
                    with (run.path / METRICS).open("a") as file:
                        file.write('{"step": ')
                raise
            log(run, row)

        acquire = filelock.FileLock.acquire

        def held(lock: Any, *words: Any, **more: Any) -> Any:
            self.locks.append(lock)
            return acquire(lock, *words, **more)

        def before(original: Callable[..., Any]) -> Callable[..., Any]:
            def touched(*words: Any, **more: Any) -> Any:
                self.touch()
                return original(*words, **more)

            return touched

        with pytest.MonkeyPatch.context() as patch:
            for name in ("replace", "hardlink_to", "unlink", "rmdir", "mkdir"):
                patch.setattr(Path, name, before(getattr(Path, name)))
            patch.setattr(filelock.FileLock, "acquire", before(held))
            patch.setattr(os, "fsync", torn_sync)
            patch.setattr(RunFolder, "log", torn_log)
            yield self
        for lock in self.locks:
            lock.release(force=True)


def content(folder: Path, ignored: tuple[str, ...] = ()) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name not in ignored)
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def every_crash(
    call: Callable[[Path], None],
    folder: Path,
    ignored: tuple[str, ...] = (),
    shared: tuple[str, ...] = ("",),
    stride: int = 1,
) -> int:
    """Crashes a call at each of its touches of the disk, in a folder each, and makes it again; how many these were.

    Args:
        call: does its work in the folder that it is given.
        ignored: files whose bytes differ from run to run.
        shared: folders that no process has for itself: a kill leaves what it was writing, under a name that says so.
        stride: every so many touches are tried.
    """
    call(make(folder / "first"))  # what is kept elsewhere, as compiled loops are, is there from now on
    make(folder / "whole")
    with Disk(10**9).watched() as disk:
        call(folder / "whole")
    expected = content(folder / "whole", ignored)
    tried = range(1, disk.touches + 1, stride)
    for last in tried:
        place = make(folder / str(last))
        with Disk(last).watched(), pytest.raises(Crash):
            call(place)
        between = content(place)
        call(place)
        found = content(place, ignored)
        odd = {name for name in found if name not in expected}
        assert odd <= {n for n in between if n.endswith(".part") and n.rpartition("/")[0] in shared}, last
        assert {name: found[name] for name in expected} == expected, last
    return len(tried)


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def squares(folder: Path) -> None:
    blocks = [[np.array([2, 0]), np.array([1])], [np.array([3, 4]), np.array([5])]]

    def compute(part: Any) -> pl.DataFrame:
        return pl.DataFrame({"question": part, "answer": part * part})

    if not (folder / "t.csv").exists():
        write_in_parts(folder / "t.csv", False, "squares", blocks, compute, lambda rows: rows.sort("question"))
    else:  # the crash came after: the same call with --force
        write_in_parts(folder / "t.csv", True, "squares", blocks, compute, lambda rows: rows.sort("question"))


def test_a_table_in_parts(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("crash points survived", every_crash(squares, tmp_path))


def test_files_and_indexes(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    graph = random_graph(0)

    def write(folder: Path) -> None:
        write_whole(b"text", folder / "a.txt", force=True)
        save_index(graph, folder / "g.trivium", force=True)

    record_property("crash points survived", every_crash(write, tmp_path))


def test_results_of_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr("trivium.cli.evaluate.evaluate_dataset", lambda _, __, name, *___, **____: result(name, 0.5))

    def call(folder: Path) -> None:
        assert run_command("evaluate", "Metafam", "UMLS", "-o", folder / "out") == 0

    call(make(tmp_path / "before"))
    (results,) = (tmp_path / "before" / "out").glob("*/")
    points = every_crash(call, tmp_path, shared=("out", f"out/{results.name}"))
    assert points > 9
    record_property("crash points survived", points)


def test_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]) -> None:
    model = replace(SMALL, layers=1, structure_steps=1, prompt_layers=1)
    save_checkpoint(small_model(model), Provenance(), tmp_path / "start.safetensors")
    write_triples(tmp_path / "g.tsv", random_graph(0).triples)

    def call(folder: Path) -> None:
        monkeypatch.chdir(folder)  # a checkpoint says which files it was made from
        for name in ("g.tsv", "start.safetensors"):
            shutil.copy(tmp_path / name, name)
        words = ["g.tsv", "--checkpoint", "start.safetensors", "--steps", 1, "--run", "run"]
        words = ["--resume", "run"] if RunFolder("run").begun else words
        force = ["--force"] if Path("m.safetensors").exists() else []
        assert run_command("finetune", *words, "-o", "m.safetensors", *force) == 0

    points = every_crash(call, tmp_path / "fits", ignored=(METRICS, STATE))
    assert points > 9
    record_property("crash points survived", points)


def test_an_ablation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(ablation, "ARMS", {BASE: ()})
    triples = random_graph(1, entities=30, relations=3, triples=200).triples
    for split, part in (("train", triples[:150]), ("valid", triples[150:190]), ("test", triples[190:])):
        write_triples(tmp_path / "data" / "one" / f"{split}.txt", part, prefix="one")
    write_triples(tmp_path / "g.tsv", random_graph(0, triples=200).triples)
    model = replace(SMALL, layers=1, structure_steps=1, prompt_layers=1)
    training = {"sources": [{"name": "g.tsv"}], "model": asdict(model), "steps": 1, "max_questions": 4}
    training |= {"min_entities": 20, "max_entities": 30}
    settings = {"training": training, "graphs": ["one"], "warm_steps": 1, "questions": 8}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(settings))

    def call(folder: Path) -> None:
        monkeypatch.chdir(folder)
        shutil.copy(tmp_path / "g.tsv", "g.tsv")
        words = ["--resume", "run"] if RunFolder("run").begun else [tmp_path / "a.yaml", "--run", "run"]
        assert run_command("ablate", *words, "--data-dir", tmp_path / "data") == 0

    points = every_crash(call, tmp_path / "ablations", ignored=(METRICS, STATE), stride=7)  # runs have other lengths
    assert points > 9
    record_property("crash points survived", points)


def test_a_training_run(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    model = replace(SMALL, use_similarity_enhancer=False, use_prompt_enhancer=False, layers=1, structure_steps=1)
    config = small_training(model=model, steps=2, steps_per_epoch=1, save_every=1)

    def run(folder: Path) -> None:
        pretrain(RunFolder(folder / "run"), config=config)

    points = every_crash(run, tmp_path, ignored=(METRICS, STATE))
    for folder in tmp_path.iterdir():
        assert [row["step"] for row in RunFolder(folder / "run").metrics()] == [1, 2]
    record_property("crash points survived", points)
