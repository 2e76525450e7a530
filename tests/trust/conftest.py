"""The service's graph of odd names; what the bench tried is printed at the end of the tests."""

from collections import Counter

import pytest

from tests.service.conftest import odd_graph

__all__ = ["odd_graph"]
FIGURES = ("crash points survived", "mutated files read or refused")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sums what tests recorded by `record_property`, in whatever process they ran."""
    total: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        total.update({name: int(str(value)) for name, value in report.user_properties if name in FIGURES})
    for name, count in total.items():
        terminalreporter.write_line(f"{name}: {count:,}")
