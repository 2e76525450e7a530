"""Reasons as a picture: a row for each path, from the question's entity to its answer."""

from __future__ import annotations

from typing import Any

from trivium.explanation.explain import Explanation, Reason

INK, ACCENT, BOX = "#222222", "#1f5a96", "#eef3f8"


def draw_reasons(explanation: Explanation) -> Any:
    """A matplotlib figure. Arrows point as the facts do, from head to tail; thicker ones carried more."""
    from matplotlib.figure import Figure

    paths = explanation.paths
    longest = max((len(reason.steps) for reason in paths), default=1)
    rows = max(1, len(paths))
    figure = Figure(figsize=(3 + 2.9 * longest, 1.5 + 0.8 * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, longest + 0.5), ylim=(-rows + 0.3, 1.4))
    axes.axis("off")
    title = "\n".join(_shown(line, 200) for line in explanation.words[: 1 if paths else 2])
    axes.text(0.01, 0.97, title, transform=axes.transAxes, va="top", fontsize=10, parse_math=False)
    for row, reason in enumerate(paths):
        _draw(axes, reason, -row, longest, 0.6 + 2.4 * reason.weight / paths[0].weight)
    return figure


def _draw(axes: Any, reason: Reason, y: int, longest: int, width: float) -> None:
    places = [step * longest / len(reason.steps) for step in range(len(reason.steps) + 1)]
    names = [reason.steps[0].tail if reason.steps[0].inverse else reason.steps[0].head]
    names += [step.head if step.inverse else step.tail for step in reason.steps]
    label = {"ha": "center", "va": "bottom", "fontsize": 8, "color": ACCENT, "parse_math": False}
    for left, right, step in zip(places, places[1:], reason.steps, strict=False):
        middle = (left + right) / 2
        axes.plot([left, right], [y, y], color=ACCENT, linewidth=width, zorder=1)
        axes.plot([middle], [y], marker="<" if step.inverse else ">", color=ACCENT, markersize=7 + width)
        axes.text(middle, y + 0.15, _shown(step.relation), **label)
    box = {"boxstyle": "round,pad=0.35", "facecolor": BOX, "edgecolor": INK, "linewidth": 0.8}
    entity = {"ha": "center", "va": "center", "fontsize": 9, "color": INK, "zorder": 3, "parse_math": False}
    for place, name in zip(places, names, strict=True):
        axes.text(place, y, _shown(name), bbox=box, **entity)
    axes.text(-0.48, y + 0.3, f"{reason.weight:.3f}", ha="left", va="center", fontsize=8, color=INK)


def _shown(text: str, max_letters: int = 26) -> str:
    """Without control characters, which would move other text, and cut where it is long."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return text if len(text) <= max_letters else f"{text[: max_letters - 1]}…"
