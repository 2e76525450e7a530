"""YAML to frozen dataclasses: values only, every key known, every type checked."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from trivium.errors import ConfigError

T = TypeVar("T")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds settings by name.

    Raises:
        ConfigError: no such file, no YAML, or no mapping; the message names file and line.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not YAML ({getattr(error, 'problem', None) or 'unreadable'})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings, one `name: value` a line")
    return {str(key): value for key, value in content.items()}


def build(kind: type[T], values: dict[str, Any], where: str | Path) -> T:
    """A dataclass from plain values, nested dataclasses from nested mappings.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), a missing one, or a value of another type or out
            of range.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(values, extra="forbid")
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            reason = f"unknown setting: {nearest(str(first['loc'][-1]), _keys(kind))}"
        elif first["type"] == "missing":
            reason = "this setting is needed"
        else:
            reason = f"{first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}"
        raise ConfigError(f"{where}: {key}: {reason}") from error


def check_range(low: float, high: float = math.inf, **given: float | None) -> None:
    """Checks that numbers lie between two bounds, these included; a number that is not given is ``None``.

    Raises:
        ConfigError: one does not.
    """
    for name, value in given.items():
        if value is not None and not low <= value <= high:
            wanted = f"{low:g} or more" if high == math.inf else f"a number from {low:g} to {high:g}"
            raise ConfigError(f"{name} is {value}: give {wanted}")


def _keys(kind: type) -> list[str]:
    """The names of a dataclass's fields and of the dataclasses in them."""
    names = []
    for part in fields(kind):
        names.append(part.name)
        for inner in get_args(part.type) or (part.type,):
            if isinstance(inner, type) and is_dataclass(inner):
                names += _keys(inner)
    return names


def nearest(name: str, known: list[str]) -> str:
    """Words that name the known setting nearest to ``name``."""
    from rapidfuzz import process

    best = process.extractOne(name, known)
    return f"did you mean {best[0]!r}?" if best else "no such setting"
