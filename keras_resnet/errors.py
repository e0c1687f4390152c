"""Defines the errors that end a command, and checks that raise them."""

import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UsageError(ValueError):
    """An invalid request, described in one sentence.

    The sentence names the constraint, the value that violates it, and the choices or
    the fix. Commands print it as one line on stderr and exit with status 2.
    """

    status = 2


class Stopped(Exception):  # noqa: N818 - not always an error
    """Ends a command with one line on stderr and an exit status.

    Args:
        message: The line.
        status: 1 for a failure, 128 + the signal number for a stop by a signal.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def require_local(path: str | os.PathLike[str]) -> None:
    """Raises UsageError for a URL, which would create a local folder, e.g. ``gs:``."""
    if re.match(r"[a-zA-Z][\w+.-]+:/", os.fspath(path)):
        raise UsageError(
            f"path must be local, got the URL {os.fspath(path)!r}; use a local path "
            "and copy the files"
        )


def is_text(name: str) -> bool:
    """Returns whether a name is UTF-8, as graphs and reports require."""
    try:
        name.encode()
    except UnicodeEncodeError:  # surrogates, which stand for other bytes
        return False
    return True


def require_text(what: str, name: str) -> None:
    """Raises UsageError unless a name is UTF-8."""
    if not is_text(name):
        raise UsageError(f"{what} must be UTF-8, got {name!r}; rename it")


def first_few(names: Sequence[object], most: int = 5) -> str:
    """Joins at most ``most`` names with commas for a message and counts the rest."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns ``did you mean …? `` with the names like ``name``, or an empty text."""
    near = get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""


def require_choice(field: str, value: str, choices: Iterable[str]) -> None:
    """Raises UsageError unless ``value``, given for ``field``, is in ``choices``."""
    names = list(choices)
    if value not in names:
        raise UsageError(f"{field} must be one of {', '.join(names)}, got {value!r}")


def require_positive(record: object, *fields: str) -> None:
    """Raises UsageError unless the given fields of ``record`` are at least 1."""
    for field in fields:
        if getattr(record, field) < 1:
            raise UsageError(
                f"{field} must be at least 1, got {getattr(record, field)}"
            )


def require_depths(depths: tuple[int, ...], what: str) -> None:
    """Raises UsageError unless ``depths`` has at least one ``what`` per stage."""
    if not depths or any(type(depth) is not int or depth < 1 for depth in depths):
        raise UsageError(
            f"depths must be one positive {what} count per stage, got {depths}"
        )


def require_widths(widths: tuple[int, ...], count: int) -> None:
    """Raises UsageError unless ``widths`` has ``count`` positive channel counts."""
    whole = all(type(width) is int and width > 0 for width in widths)
    if len(widths) != count or not whole:
        raise UsageError(
            f"widths must be {count} positive channel counts, got {widths}"
        )


def require_rate(record: object, *fields: str) -> None:
    """Raises UsageError unless the given fields of ``record`` are dropout rates."""
    for field in fields:
        if not 0 <= getattr(record, field) < 1:
            raise UsageError(
                f"{field} must be a rate of at least 0 and less than 1, got "
                f"{getattr(record, field)}"
            )
