"""Settings: YAML to frozen dataclasses, every key known, every type and range checked."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, MultipleOf

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

    Args:
        where: the file that the values come from, for messages.

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


def validate(config: Any) -> None:
    """Checks a dataclass that was made in Python: numbers by the ranges, choices by the literals on its fields.

    `build` has pydantic check the same annotations, and types besides; importing that takes too long for every command.

    Raises:
        ConfigError: a value is out of range, or none of the choices.
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ConfigError(f"{name} is {value!r}: choose from {', '.join(get_args(hint))}")
        for rule in getattr(hint, "__metadata__", ()):
            match rule:
                case Ge(ge=low):
                    fits, wanted = value >= low, f"{low:g} or more"
                case Gt(gt=low):
                    fits, wanted = value > low, f"more than {low:g}"
                case Le(le=high):
                    fits, wanted = value <= high, f"{high:g} or less"
                case MultipleOf(multiple_of=step):
                    fits, wanted = value % step == 0, f"a multiple of {step}"
                case _:
                    raise TypeError(f"{name}: {rule} is a rule that nothing checks")
            if not fits:
                raise ConfigError(f"{name} is {value}: give {wanted}")


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
    from rapidfuzz import process

    best = process.extractOne(name, known)
    return f"did you mean {best[0]!r}?" if best else "no such setting"
