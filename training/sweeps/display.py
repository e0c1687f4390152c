"""Shows a running sweep as a live table or as one line per trial."""

import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from training.sweeps.folder import Sweep
from training.sweeps.results import Row, best_of, rows_of

SHOWN = 15  # rows of the table: running trials, then the best


class Display:
    """Shows the progress of a sweep from the files in its folder.

    Args:
        sweep: The sweep's folder.
        total: Expected number of trials; None: unknown.
        workers: Number of trials that run at once.
    """

    def __init__(self, sweep: Sweep, total: int | None, workers: int = 1) -> None:
        self._sweep = sweep
        self._total = total
        self._workers = workers
        self._console = Console()
        self._live: Live | None = None
        self._printed: set[str] | None = None
        self._start = time.monotonic()
        self._done_at_start = 0

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=1
            )
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def update(self) -> None:
        """Prints the newly ended trials if there is no live table."""
        rows = rows_of(self._sweep)
        ended = [row for row in rows if row["status"] != "running"]
        if self._printed is None:
            self._printed = {row["trial"] for row in ended}
            self._done_at_start = len(ended)
        if self._live is not None:
            return
        for row in ended:
            if row["trial"] not in self._printed:
                self._printed.add(row["trial"])
                print(self._line(row, rows), flush=True)

    def _line(self, row: Row, rows: list[Row]) -> str:
        fields = ", ".join(
            f"{n}={format_value(row[n])}" for n in self._sweep.settings["fields"]
        )
        if row["status"] == "failed":
            result = f"failed: {row['reason']}"
        else:
            off = f" ({row['off_target']:+.1%})" if row["off_target"] != "" else ""
            result = (
                f"{row['params']:,} parameters{off}, {row['val_top1']:.4f} after "
                f"{row['seconds']:.0f} s"
            )
        return f"trial {row['trial']} ({fields}): {result}; {self._summary(rows)}"

    def _summary(self, rows: list[Row]) -> str:
        """Returns the progress, the best result and the estimated time left."""
        done = sum(row["status"] != "running" for row in rows)
        of = f" of {self._total}" if self._total is not None else ""
        best = best_of(rows)
        text = f"{done}{of} done"
        if best is not None:
            text += f", best {best['val_top1']:.4f} ({best['trial']})"
        if self._total is not None and done and done < self._total:
            left = self._seconds_each(rows, done) * (self._total - done)
            wait = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
            text += f", about {wait} left"
        return text

    def _seconds_each(self, rows: list[Row], done: int) -> float:
        """Returns the time per trial, divided by the trials that run at once.

        This is the larger of two estimates. One is the time since this process began,
        which counts a trial that was nearly done before as a whole one. The other is
        the time of the epochs, which excludes the start of the processes.
        """
        here = done - self._done_at_start
        by_clock = (time.monotonic() - self._start) / here if here else 0.0
        trained = [row["seconds"] or 0.0 for row in rows if row["status"] != "running"]
        return max(by_clock, sum(trained) / done / self._workers)

    def _table(self) -> Table:
        rows = rows_of(self._sweep)
        fields = self._sweep.settings["fields"]
        columns = ("parameters", "epochs", "held-out top-1", "seconds", "status")
        title = self._summary(rows)
        table = Table("trial", *fields, *columns, title=title, title_justify="left")
        running = [row for row in rows if row["status"] == "running"]
        ended = [row for row in rows if row["status"] != "running"]
        ended.sort(key=lambda row: row["val_top1"] or 0, reverse=True)
        for row in [*running, *ended][:SHOWN]:
            top1 = row["val_top1"]
            table.add_row(
                row["trial"],
                *(format_value(row[name]) for name in fields),
                f"{row['params']:,}" if row["params"] else "",
                str(row["epochs"]),
                f"{top1:.4f}" if top1 else "",
                str(row["seconds"]),
                row["reason"] or row["status"],
            )
        return table


def format_value(value: Any) -> str:
    """Formats a value; a float gets four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
