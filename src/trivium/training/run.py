"""The folder of a run: its configuration, its metrics, and the state that it resumes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from trivium.errors import OutputError, TrainingError
from trivium.files import make_folder, write_whole
from trivium.training.config import AblationConfig, TrainingConfig

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
    def create(cls, path: str | Path, config: TrainingConfig | AblationConfig) -> RunFolder:
        """Makes the folder and writes the configuration.

        Raises:
            OutputError: the folder holds a run already, or cannot be made.
        """
        import yaml

        run = cls.free(path)
        plain = json.loads(json.dumps(asdict(config)))  # tuples as lists
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        write_whole(text.encode(), make_folder(run.path) / CONFIG, force=True)
        return run

    def save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Replaces the state by that after ``step`` steps.

        Raises:
            TrainingError: the disk refused it; the state before is untouched.
        """
        from safetensors.torch import save

        content = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        try:
            write_whole(save(content, {"step": str(step)}), self.path / STATE, force=True)
        except OutputError as error:
            message = f"step {step}: {error}: the state before it is kept; make room and continue with --resume"
            raise TrainingError(message) from error

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
        file = self.path / METRICS
        rows = []
        for line in file.read_text("utf-8").splitlines() if file.exists() else ():
            with suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
        return rows

    def validations(self) -> dict[int, float]:
        """The validation MRR so far, by step; step 0 is the start."""
        return {row["step"]: row["valid_mrr"] for row in self.metrics() if "valid_mrr" in row}

    def rewind(self, step: int) -> None:
        """Forgets metrics after ``step``, which the resumed run writes again."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        write_whole("".join(json.dumps(row) + "\n" for row in rows).encode(), self.path / METRICS, force=True)


def best_step(course: Mapping[int, float]) -> int:
    """The step that validated best, the earliest of equals."""
    return max(course, key=lambda step: (course[step], -step))
