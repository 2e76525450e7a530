"""The folder of a run: its configuration, its metrics, and the state that it resumes from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from trivium.errors import OutputError, TrainingError
from trivium.files import make_folder, whole_file
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
        with whole_file(make_folder(run.path) / CONFIG, force=True) as file:
            file.write(yaml.safe_dump(_plain(asdict(config)), sort_keys=False, allow_unicode=True).encode())
        return run

    def save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Replaces the state by that after ``step`` steps.

        Raises:
            TrainingError: the disk refused it; the state before is untouched.
        """
        from safetensors.torch import save

        content = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        try:
            with whole_file(self.path / STATE, force=True) as file:
                file.write(save(content, {"step": str(step)}))
        except OutputError as error:
            raise TrainingError(
                f"step {step}: {error}: the state before it is kept; make room and continue with --resume"
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
        with whole_file(self.path / METRICS, force=True) as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
