"""The folder of a run: its configuration, its metrics, and the state that it resumes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from trivium.errors import InputError, OutputError, TrainingError
from trivium.files import make_folder, write_whole
from trivium.model.checkpoint import tensors_sha256
from trivium.settings import build, read_json
from trivium.training.config import AblationConfig, FitConfig, TrainingConfig

STATE = "state.safetensors"
METRICS = "metrics.jsonl"
CONFIG = "config.yaml"
SOURCES = "sources.json"


class RunFolder:
    """Reads and writes one run. Every file appears whole or not at all, so a kill at any moment leaves the last state.

    Args:
        path: the folder; `create` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def begun(self) -> bool:
        """Whether the folder holds a run."""
        return (self.path / CONFIG).exists()

    @classmethod
    def free(cls, path: str | Path) -> RunFolder:
        """The folder of a run that is yet to begin; it need not be there.

        Raises:
            OutputError: it holds a run already.
        """
        run = cls(path)
        if run.begun:
            raise OutputError(f"{run.path} holds a run already: continue it with --resume, or choose another folder")
        return run

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: TrainingConfig | AblationConfig | FitConfig,
        sources: Mapping[str, str] | None = None,
    ) -> RunFolder:
        """Makes the folder and writes what the run is made from: the configuration, and the SHA-256 of each source.

        Raises:
            OutputError: the folder holds a run already, or cannot be made.
        """
        import yaml

        run = cls.free(path)
        plain = json.loads(json.dumps(asdict(config)))  # tuples as lists
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        make_folder(run.path)
        if sources is not None:
            write_whole(json.dumps(sources, indent=1).encode(), run.path / SOURCES, force=True)
        write_whole(text.encode(), run.path / CONFIG, force=True)  # the last: now the run has begun
        return run

    def check_sources(self, sources: Mapping[str, str]) -> None:
        """Checks that a run goes on with what it began with; runs of earlier versions did not note it.

        Args:
            sources: what `create` was given: SHA-256 by name.

        Raises:
            InputError: a source is another by now, or the note is damaged.
        """
        file = self.path / SOURCES
        began = build(dict[str, str], read_json(file), file) if file.exists() else dict(sources)
        for name in {**began, **sources}:
            own, given = began.get(name, "none"), sources.get(name, "none")
            if own != given:
                raise InputError(
                    f"{self.path} began with another {name} than this (SHA-256 {own[:12]}…, not {given[:12]}…): "
                    "bring that back, or begin a new run"
                )

    def save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Replaces the state by that after ``step`` steps.

        Raises:
            TrainingError: the disk refused it; the state before is untouched.
        """
        from safetensors.torch import save

        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        metadata = {"step": str(step), "sha256": tensors_sha256(content, str(step))}
        try:
            write_whole(save(content, metadata), self.path / STATE, force=True)
        except OutputError as error:
            message = f"step {step}: {error}: the state before it is kept; make room and continue with --resume"
            raise TrainingError(message) from error

    def load(self) -> tuple[int, dict[str, Tensor]]:
        """The step and tensors last saved; step 0 and nothing where no state was saved yet.

        Raises:
            InputError: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        file = self.path / STATE
        if not file.exists():
            return 0, {}
        try:
            with safe_open(file, "pt") as held:
                said = held.metadata()
                step, tensors = int(said["step"]), {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
            whole = said.get("sha256") in (None, tensors_sha256(tensors, str(step)))  # earlier versions wrote none
        except (SafetensorError, OSError, ValueError, LookupError, TypeError):
            whole = False
        if not whole:
            raise InputError(f"{file} is damaged or cut short: delete it and the run begins again at step 0")
        return step, tensors

    def log(self, row: dict[str, Any]) -> None:
        """Appends one line to the metrics.

        Raises:
            TrainingError: the disk refused it; the state before is untouched.
        """
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as reason:
            raise TrainingError(
                f"step {row['step']}: cannot write {self.path / METRICS}: {reason.strerror}: the last saved state is "
                "kept; make room and continue with --resume"
            ) from reason

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics so far; a last line that a kill cut short is left out.

        Raises:
            InputError: another line is damaged.
        """
        file = self.path / METRICS
        rows = []
        for number, line in enumerate(file.read_bytes().splitlines(keepends=True) if file.exists() else (), 1):
            try:
                rows.append(_row(line))
            except (ValueError, RecursionError) as reason:
                if line.endswith(b"\n"):
                    raise InputError(f"{file} line {number} is damaged: mend it, or take it out") from reason
        return rows

    def validations(self) -> dict[int, float]:
        """The validation MRR so far, by step; step 0 is the start."""
        return {row["step"]: row["valid_mrr"] for row in self.metrics() if "valid_mrr" in row}

    def rewind(self, step: int) -> None:
        """Forgets metrics after ``step``, which the resumed run writes again."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        write_whole("".join(json.dumps(row) + "\n" for row in rows).encode(), self.path / METRICS, force=True)


def _row(line: bytes) -> dict[str, Any]:
    """A line of the metrics; a ValueError if it is none."""
    row = json.loads(line)
    kinds = {"step": int, "valid_mrr": float, "fusion": dict}
    if not (isinstance(row, dict) and "step" in row and all(isinstance(row.get(k, t()), t) for k, t in kinds.items())):
        raise ValueError
    return row


def best_step(course: Mapping[int, float]) -> int:
    """The step that validated best, the earliest of equals."""
    return max(course, key=lambda step: (course[step], -step))
