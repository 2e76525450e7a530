"""Settings: YAML to frozen dataclasses, every key known, every type and range checked."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError
from rapidfuzz import process

from trivium.errors import ConfigError

T = TypeVar("T")


MAX_BYTES = 1 << 20  # of a file of settings


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases: a few hundred bytes of them can stand for more than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="an alias: write out what it stands for", problem_mark=alias.start_mark)
        return super().compose_node(parent, index)


def read_json(path: str | Path) -> Any:
    """What a JSON file holds that this package wrote.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged ({error}): delete it, or bring it back from a copy") from error


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds settings by name.

    Raises:
        ConfigError: no such file, no YAML, or no mapping; the message names file and line.
    """
    try:
        if (size := Path(path).stat().st_size) > MAX_BYTES:
            raise ConfigError(f"{path}: {size:,} bytes are too many for settings: give a file of at most {MAX_BYTES:,}")
        content = yaml.load(Path(path).read_text("utf-8"), _Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply: settings need two levels") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not YAML ({getattr(error, 'problem', None) or 'unreadable'})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings, one `name: value` a line")
    return {str(key): value for key, value in content.items()}


def build(kind: type[T], values: dict[str, Any], where: str | Path) -> T:
    """A dataclass from plain values, nested dataclasses from nested mappings.

    Args:
        where: the file that the values come from, for messages.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), a missing one, or a value of another type or out
            of range.
    """
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
            reason = f"{_wanted(error)}, not {first['input']!r}"
        raise ConfigError(f"{where}: {key}: {reason}") from error


class Settings:
    """What a dataclass of settings inherits: made in Python, it is checked field by field, as `build` does.

    Raises:
        ConfigError: a value is out of range, or none of the choices.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            try:
                TypeAdapter(hint).validate_python(getattr(self, name))
            except ValidationError as error:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: {_wanted(error)}") from error


def _wanted(error: ValidationError) -> str:
    """What pydantic asks for, to go on with in a sentence."""
    words = error.errors()[0]["msg"]
    return f"{words[0].lower()}{words[1:]}"


def check_range(low: float, **given: float | None) -> None:
    """Checks that a function's arguments are at least ``low``; one that is not given is ``None``.

    Raises:
        ConfigError: one is less.
    """
    for name, value in given.items():
        if value is not None and not value >= low:
            raise ConfigError(f"{name} is {value}: give {low:g} or more")


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
    best = process.extractOne(name, known)
    return f"did you mean {best[0]!r}?" if best else "no such setting"
