"""What a person sees of a sweep while it runs: a live table, or a line a trial."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from training.sweeps.folder import Sweep
from training.sweeps.results import Row, best_of, rows_of

SHOWN = 15  # trials in the table: those that run, and the best


class Display:
    """Shows a sweep, read from its folder.

    Args:
        sweep: The folder.
        total: Trials that there will be; None: unknown.
        at_a_time: Trials that run at once.
    """

    def __init__(self, sweep: Sweep, total: int | None, at_a_time: int = 1) -> None:
        self._sweep = sweep
        self._total = total
        self._at_a_time = at_a_time
        self._console = Console()
        self._live: Live | None = None
        self._said: set[str] | None = None
        self._began = time.monotonic()
        self._done_before = 0

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=1
            )
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def update(self) -> None:
        """Prints what is new, where there is no live table."""
        rows = rows_of(self._sweep)
        ended = [row for row in rows if row["status"] != "running"]
        if self._said is None:
            self._said = {row["trial"] for row in ended}
            self._done_before = len(ended)
        if self._live is not None:
            return
        for row in ended:
            if row["trial"] not in self._said:
                self._said.add(row["trial"])
                print(self._line(row, rows), flush=True)

    def _line(self, row: Row, rows: list[Row]) -> str:
        fields = ", ".join(
            f"{n}={short(row[n])}" for n in self._sweep.settings["fields"]
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
        """How far it is, the best so far, and how long it will still take."""
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
        """How long a trial takes, of as many at a time as there are.

        It is the larger of two: by this sweep's clock, which counts a trial that was
        nearly done before as a whole one; and by the epochs, without what a process
        takes to start.
        """
        here = done - self._done_before
        by_clock = (time.monotonic() - self._began) / here if here else 0.0
        trained = [row["seconds"] or 0.0 for row in rows if row["status"] != "running"]
        return max(by_clock, sum(trained) / done / self._at_a_time)

    def _table(self) -> Table:
        rows = rows_of(self._sweep)
        fields = self._sweep.settings["fields"]
        table = Table(title=self._summary(rows), title_justify="left")
        for name in (
            "trial",
            *fields,
            "params",
            "epochs",
            "val_top1",
            "seconds",
            "status",
        ):
            table.add_column(name)
        running = [row for row in rows if row["status"] == "running"]
        ended = [row for row in rows if row["status"] != "running"]
        ended.sort(key=lambda row: row["val_top1"] or 0, reverse=True)
        for row in [*running, *ended][:SHOWN]:
            top1 = row["val_top1"]
            table.add_row(
                row["trial"],
                *(short(row[name]) for name in fields),
                f"{row['params']:,}" if row["params"] else "",
                str(row["epochs"]),
                f"{top1:.4f}" if top1 else "",
                str(row["seconds"]),
                row["reason"] or row["status"],
            )
        return table


def short(value: Any) -> str:
    """A value with as many digits as one reads."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
