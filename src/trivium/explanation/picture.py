"""Reasons as a picture: a row for each path, from the question's entity to its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivium.explanation.explain import Explanation, Reason
from trivium.report import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LETTERS = 26
INK, ACCENT, BOX = "#222222", "#1f5a96", "#eef3f8"


def draw_reasons(explanation: Explanation) -> Figure:
    """Arrows point as the facts do, from head to tail; thicker ones carried more."""
    from matplotlib.figure import Figure

    longest = max((len(reason.steps) for reason in explanation.paths), default=1)
    rows = max(1, len(explanation.paths))
    figure = Figure(figsize=(3 + 2.9 * longest, 1.5 + 0.8 * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, longest + 0.5), ylim=(-rows + 0.3, 1.4))
    axes.axis("off")
    lines = [line for line in explanation.words if not line[:1].isdigit() or not explanation.paths]
    title = lines[0] if explanation.paths else "\n".join(lines[:2])
    axes.text(0.01, 0.97, _shown(title, 200), transform=axes.transAxes, va="top", fontsize=10, parse_math=False)
    most = max((reason.weight for reason in explanation.paths), default=1.0)
    for row, reason in enumerate(explanation.paths):
        _draw(axes, reason, float(-row), longest, 0.6 + 2.4 * reason.weight / most)
    return figure


def _draw(axes: Any, reason: Reason, y: float, longest: int, width: float) -> None:
    places: list[float] = [step * longest / len(reason.steps) for step in range(len(reason.steps) + 1)]
    names = [reason.steps[0].tail if reason.steps[0].inverse else reason.steps[0].head]
    names += [step.head if step.inverse else step.tail for step in reason.steps]
    for place, step in enumerate(reason.steps):
        left, right = places[place], places[place + 1]
        axes.plot([left, right], [y, y], color=ACCENT, linewidth=width, zorder=1)
        axes.plot([(left + right) / 2], [y], marker="<" if step.inverse else ">", color=ACCENT, markersize=7 + width)
        label = {"ha": "center", "va": "bottom", "fontsize": 8, "color": ACCENT, "parse_math": False}
        axes.text((left + right) / 2, y + 0.15, _shown(step.relation), **label)
    box = {"boxstyle": "round,pad=0.35", "facecolor": BOX, "edgecolor": INK, "linewidth": 0.8}
    for x, name in zip(places, names, strict=True):
        middle = {"ha": "center", "va": "center", "fontsize": 9, "zorder": 3, "parse_math": False}
        axes.text(x, y, _shown(name), color=INK, bbox=box, **middle)
    axes.text(-0.48, y + 0.3, f"{reason.weight:.3f}", ha="left", va="center", fontsize=8, color=INK)


def _shown(text: str, most: int = MOST_LETTERS) -> str:
    text = "\n".join(printable(line) for line in text.split("\n")) if most > MOST_LETTERS else printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
