"""Writes the report of a sweep: its trials, their costs and their accuracy."""

import json
import shlex
from collections import Counter
from pathlib import Path

from training.recipes.catalogue import RECIPES
from training.reports import render
from training.storage.writing import report_write_errors, write_atomically
from training.sweeps.display import format_value
from training.sweeps.folder import Sweep
from training.sweeps.options import Search, find_preset
from training.sweeps.pictures import COSTS, curves, errors, front, parallel
from training.sweeps.results import Row, best_of, rows_of


def write_report(sweep: Sweep) -> Path:
    """Writes ``report.html`` to the sweep's folder and returns its path."""
    rows = rows_of(sweep)
    done = [row for row in rows if row["status"] == "completed"]
    done.sort(key=lambda row: row["val_top1"], reverse=True)
    others = [row for row in rows if row["status"] != "completed"]
    fields = sweep.settings["fields"]
    best = best_of(rows)
    pictures, split = [], "test"
    if done:
        if "val" in sweep.run(done[0]["trial"]).config["dataset"]["examples"]:
            split = "val"
        pictures += [front(done, cost) for cost in COSTS]
        pictures += [errors(done, fields), parallel(done, fields), curves(sweep, done)]
    page = render(
        "sweeps/report.html.j2",
        fields=fields,
        rows=[format_row(row, fields) for row in [*done, *others]],
        failures=Counter(row["reason"] for row in others if row["reason"]),
        split=split,
        best=best and format_row(best, fields),
        target=sweep.settings["target"],
        pictures=pictures,
        recipe=sweep.settings["recipe"],
        command=command_line(sweep),
    )
    with report_write_errors(sweep.report):
        write_atomically(sweep.report, lambda path: path.write_text(page, "utf-8"))
    return sweep.report


def format_row(row: Row, fields: list[str]) -> Row:
    """Returns a row with its hyperparameters formatted as text."""
    return row | {name: format_value(row[name]) for name in fields}


def command_line(sweep: Sweep) -> str:
    """Returns the command that repeats the sweep."""
    preset = sweep.settings["search"]["preset"]
    defaults = vars(Search()) | RECIPES["default"].to_dict()
    if preset:
        defaults |= find_preset(preset).recipe
    chosen = sweep.settings["search"] | sweep.settings["recipe"]
    defaults = json.loads(json.dumps(defaults))  # with lists, as the settings
    given = {name: value for name, value in chosen.items() if value != defaults[name]}
    words = ["python", "-m", "training.sweep", "--out", "SWEEP"]
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        else:
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    lines = shlex.join(words).split(" --")
    return " \\\n    --".join(lines)
