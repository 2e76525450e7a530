"""What `trivium calibrate` does."""

from __future__ import annotations

from pathlib import Path

from trivium.calibration.fit import calibrate, check_choice
from trivium.calibration.reliability import draw_curve
from trivium.files import check_place, save_figure
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import checkpoint_sha256
from trivium.report import progress, show


def check(share: float, most: int, seed: int, output: Path, png: Path | None, force: bool) -> None:
    """Refuses what cannot be done, before any work is done for it."""
    check_choice(share, most, seed)
    check_place(output, force, ".json")
    if png is not None:
        check_place(png, force, ".png")


def learn(
    ranker: Ranker,
    checkpoint: str,
    output: Path,
    share: float,
    most: int,
    seed: int,
    png: Path | None,
    force: bool,
) -> None:
    """Calibrates, writes, and says how it went."""
    name = checkpoint_sha256(checkpoint)
    with progress("asking for hidden facts") as update:
        calibration = calibrate(ranker, name, share=share, most=most, seed=seed, progress=update)
    calibration.save(output, force)
    record = calibration.record
    if png is not None:
        save_figure(draw_curve(record.reliability, f"expected calibration error {record.error:.3f}"), png, force)
    rows = [
        ("facts hidden", f"{record.hidden:,}"),
        ("questions", f"{record.questions:,}"),
        ("expected calibration error, cross-validated", f"{record.error:.3f}"),
        ("relations with a correction of their own", f"{len(record.relations):,}"),
        ("relations judged by the global fit", f"{record.fallback:,}"),
    ]
    show([str(output), ""], rows)
