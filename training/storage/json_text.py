"""JSON that people read too."""

import json
from typing import Any


def format_json(values: Any, indent: str = "", *, row: bool = False) -> str:
    """Returns JSON that people can read: a list, or a mapping in a list, in one line.

    Args:
        values: JSON values; those that hold others are spread over lines.
        indent: Of the line that they begin in.
        row: They are in a list.
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
