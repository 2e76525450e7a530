"""The folder of a run: its configuration, its metrics, and the state that it resumes from."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from trivium.errors import OutputError, TrainingError
from trivium.training.config import TrainingConfig

STATE = "state.safetensors"
METRICS = "metrics.jsonl"
CONFIG = "config.yaml"


class RunFolder:
    """Reads and writes one run. Every file appears whole or not at all, so a kill at any moment leaves the last state.

    Args:
        path: the folder; `create` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | Path, config: TrainingConfig) -> RunFolder:
        """Makes the folder and writes the configuration.

        Raises:
            OutputError: the folder holds a run already, or cannot be made.
        """
        import yaml

        run = cls(path)
        if (run.path / CONFIG).exists():
            raise OutputError(f"{run.path} holds a run already: continue it with --resume, or choose another folder")
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(_plain(asdict(config)), sort_keys=False, allow_unicode=True)
            replace_file(run.path / CONFIG, text.encode())
        except OSError as error:
            raise OutputError(f"cannot write the run to {run.path}: {error.strerror}") from error
        return run

    def save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Replaces the state by that after ``step`` steps.

        Raises:
            TrainingError: the disk refused it; the state before is untouched.
        """
        from safetensors.torch import save

        content = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        try:
            replace_file(self.path / STATE, save(content, {"step": str(step)}))
        except OSError as error:
            raise TrainingError(
                f"cannot save step {step} to {self.path / STATE} ({error.strerror}): the state before it is kept; "
                "make room and continue with --resume"
            ) from error

    def load(self) -> tuple[int, dict[str, Tensor]]:
        """The step and tensors last saved; step 0 and nothing where no state was saved yet."""
        from safetensors import safe_open

        if not (self.path / STATE).exists():
            return 0, {}
        with safe_open(self.path / STATE, "pt") as file:
            return int(file.metadata()["step"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def log(self, row: dict[str, Any]) -> None:
        """Appends one line to the metrics."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics so far; a line that a kill cut short is left out."""
        try:
            lines = (self.path / METRICS).read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def rewind(self, step: int) -> None:
        """Forgets metrics after ``step``, which the resumed run writes again."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        replace_file(self.path / METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file whole: beside its place, flushed to the disk, then renamed over it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
