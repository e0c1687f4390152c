"""Collects the results of a sweep's trials from its journal and their runs."""

from pathlib import Path
from typing import Any

from training.runs.run import Run
from training.storage.writing import report_write_errors, write_csv
from training.sweeps.folder import Event, Sweep

Row = dict[str, Any]
RESULTS = ("params", "macs", "top1", "seconds", "reason")
EXTRA = ("val_top1", "train_top1", "epochs", "off_target")


def rows_of(sweep: Sweep) -> list[Row]:
    """Returns a row of results for each trial, in the order in which they began."""
    begun = {e["trial"]: e for e in sweep.events() if e["event"] == "begun"}
    ended = {e["trial"]: e for e in sweep.events() if e["event"] == "ended"}
    return [
        _row(sweep, sweep.name(number), event["values"], ended.get(number))
        for number, event in begun.items()
    ]


def _row(sweep: Sweep, trial: str, values: dict[str, Any], end: Event | None) -> Row:
    run = sweep.run(trial)
    status = "running" if end is None else end["status"].lower()
    row: Row = {"trial": trial, "status": status}
    row |= dict.fromkeys(sweep.settings["fields"], "")
    row |= {n: v for n, v in values.items() if not n.startswith("tuner/")}
    row |= dict.fromkeys((*RESULTS, *EXTRA), "")
    if run.exists:
        model = run.config["model"]
        solved = [n for n in sweep.settings["fields"] if n in model["overrides"]]
        row |= {n: model["overrides"][n] for n in solved}
        row |= {"params": model["params"], "macs": model["macs"]}
        row |= {"off_target": _off_target(sweep, row)} | last_epoch(run)
    if status == "completed":
        row["top1"] = run.evaluated["top1"]
    if end is not None:
        row["reason"] = end["reason"]
    return row


def _off_target(sweep: Sweep, row: Row) -> float | str:
    """Returns how far a network's cost exceeds the target, as a share of it."""
    if sweep.settings["target"] is None:
        return ""
    kind, target = sweep.settings["target"]
    return float(round(row[kind] / target - 1, 4))


def write_results(sweep: Sweep) -> None:
    """Writes ``results.csv`` and the link ``best``."""
    rows = rows_of(sweep)
    columns = ["trial", "status", *sweep.settings["fields"], *RESULTS, *EXTRA]
    with report_write_errors(sweep.path):
        write_csv(sweep.results, rows, columns)
        best = best_of(rows)
        if best is not None:
            fresh = sweep.path / ".best"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path("trials") / best["trial"])
            fresh.replace(sweep.path / "best")


def best_of(rows: list[Row]) -> Row | None:
    """Returns the completed trial with the highest val_top1; None: there is none."""
    done = [row for row in rows if row["status"] == "completed"]
    return max(done, key=lambda row: row["val_top1"], default=None)


def last_epoch(run: Run) -> Row:
    """Returns the results after the last epoch; empty before the first one ends."""
    epochs = run.epochs
    if not epochs:
        return {}
    last = epochs[-1]
    return {
        "seconds": round(sum(epoch["seconds"] for epoch in epochs), 1),
        "val_top1": last["val_top1"],
        "train_top1": last["top1"],
        "epochs": len(epochs),
    }
