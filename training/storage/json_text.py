"""Formats JSON for people to read."""

import json
from typing import Any


def format_json(values: Any, indent: str = "", *, row: bool = False) -> str:
    """Returns indented JSON; flat lists, and flat mappings in a list, take one line.

    Args:
        values: JSON values; lists and mappings that hold others span several lines.
        indent: Indentation of the line that the values begin in.
        row: Whether the values are an element of a list.
    """
    mapping = isinstance(values, dict)
    parts = values.values() if mapping else values if isinstance(values, list) else ()
    nested = any(isinstance(part, list | dict) for part in parts)
    if not parts or (not nested and (row or not mapping)):
        return json.dumps(values, ensure_ascii=False)
    within = indent + "  "
    lines = [format_json(part, within, row=not mapping) for part in parts]
    if mapping:
        names = [json.dumps(str(name), ensure_ascii=False) for name in values]
        lines = [f"{n}: {line}" for n, line in zip(names, lines, strict=True)]
    begin, end = "{}" if mapping else "[]"
    return f"{begin}\n{within}" + f",\n{within}".join(lines) + f"\n{indent}{end}"
