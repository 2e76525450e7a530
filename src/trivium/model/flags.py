"""The ``flags.yaml`` of the public code: what each key means here."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from trivium.errors import ConfigError
from trivium.model.config import ModelConfig
from trivium.settings import build, nearest, read_yaml

_FLAGS = pl.read_csv(Path(__file__).with_name("flags.csv"), infer_schema=False).rows(named=True)
MAPPED = {row["flag"]: row["setting"] for row in _FLAGS if row["setting"]}
"""Keys that set a field of `ModelConfig`."""
NOT_USED = {row["flag"]: row["instead"] for row in _FLAGS if row["instead"]}
"""Keys that are known and change nothing here, with what to set instead."""


def read_flags(path: str | Path) -> tuple[ModelConfig, dict[str, str]]:
    """Loads a ``flags.yaml`` into a configuration.

    Returns:
        The configuration, and the keys that were not used with the reason.

    Raises:
        ConfigError: a key that stands in neither table (the nearest known one is named), or a value of another type.
    """
    values = read_yaml(path)
    known = [*MAPPED, *NOT_USED]
    for key in values:
        if key not in known:
            raise ConfigError(f"{path}: unknown flag {key!r}: {nearest(key, known)}")
    chosen = {MAPPED[key]: value for key, value in values.items() if key in MAPPED}
    return build(ModelConfig, chosen, path), {key: NOT_USED[key] for key in values if key in NOT_USED}
