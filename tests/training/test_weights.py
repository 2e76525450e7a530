"""`trivium weights`: the series that are drawn are those that the runs logged."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import Run, drawn, small_model

from trivium.errors import InputError
from trivium.files import read_provenance
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.run import RunFolder
from trivium.training.weights import QUANTITIES, draw_fusion, fusion_course


def logged(path: Path, source: str, shift: float) -> Path:
    run = RunFolder.create(path, TrainingConfig((SourceConfig(source),)))
    for step in (10, 20, 30):
        look = {
            branch: {quantity: shift + step / 100 + place / 10 + k / 1000 for k, quantity in enumerate(QUANTITIES)}
            for place, branch in enumerate(("r", "similarity", "prompt"))
        }
        run.log({"step": step - 5, "loss": 0.5})
        run.log({"step": step, "loss": 0.5, "fusion": look})
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    save_checkpoint(small_model(), Provenance(training_data={"Nations": ""}, steps=70), tmp_path / "c.safetensors")
    first, second = logged(tmp_path / "a" / "run", "UMLS", 0.0), logged(tmp_path / "b" / "run", "Kinship", 0.3)
    return [str(first), str(second), str(tmp_path / "c.safetensors")]


def test_every_series_is_drawn_as_it_was_logged(runs: list[str]) -> None:
    course = fusion_course(runs)
    panels = draw_fusion(course).get_axes()
    assert len(panels) == 9  # three quantities by three runs, side by side
    assert [panel.get_title() for panel in panels[:3]] == [
        "a/run\nUMLS",
        "b/run\nKinship",
        f"{Path(runs[2]).parent.name}/c.safetensors\nNations",
    ]
    for k in range(len(QUANTITIES)):
        for column, shift in enumerate((0.0, 0.3)):
            lines = {line.get_label(): line for line in panels[3 * k + column].get_lines()}
            assert list(lines) == ["r", "similarity", "prompt"]
            for place, line in enumerate(lines.values()):
                expected = [shift + step / 100 + place / 10 + k / 1000 for step in (10, 20, 30)]
                np.testing.assert_allclose(drawn(line), [[10.0, 20.0, 30.0], expected])
    for line, weight in zip(panels[2].get_lines(), (0.5, 0.1, 0.4), strict=True):
        np.testing.assert_allclose(drawn(line), [[70.0], [weight]], rtol=1e-6)
    assert panels[5].get_lines()[:] == []  # a checkpoint has no contribution


def test_the_command_draws_and_writes_a_table(runs: list[str], tmp_path: Path, command: Run) -> None:
    picture, table = tmp_path / "w.png", tmp_path / "w.csv"
    words = ["weights", *runs, "-o", picture, "--table", table]
    status, out, _ = command(*words)
    assert (status, "Kinship" in out) == (0, True)
    assert picture.read_bytes().startswith(b"\x89PNG")
    frame = pl.read_csv(table)
    assert read_provenance(table)["verb"] == "weights"
    assert frame.columns == ["run", "data", "step", "branch", "weight", "contribution", "activity"]
    assert frame.height == 3 * 3 * 2 + 3
    assert frame["weight"].to_list() == pytest.approx(fusion_course(runs)["weight"].to_list())
    status, _, err = command(*words)
    assert (status, "exists already" in err) == (2, True)


def test_a_run_without_a_fusion_log_and_a_run_named_twice_are_refused(runs: list[str], tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "plain", TrainingConfig((SourceConfig("UMLS"),))).log({"step": 1, "loss": 0.1})
    with pytest.raises(InputError, match="holds no fusion log"):
        fusion_course([tmp_path / "plain"])
    with pytest.raises(InputError, match="named twice"):
        fusion_course([runs[0], runs[0]])
