"""Formats predictions as a table, CSV or JSON."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Format = Literal["table", "csv", "json"]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image file.

    Attributes:
        file: The image file.
        labels: The most probable labels, most probable first.
        probabilities: The probabilities of these labels.
    """

    file: Path
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


def render(predictions: list[Prediction], form: Format) -> str:
    """Returns predictions as a table, CSV or JSON."""
    if form == "json":
        values = [
            {
                "file": str(p.file),
                "predictions": [
                    {"label": label, "probability": probability}
                    for label, probability in zip(
                        p.labels, p.probabilities, strict=True
                    )
                ],
            }
            for p in predictions
        ]
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    rows: list[tuple[Any, ...]] = [
        (str(p.file), rank, label, probability)
        for p in predictions
        for rank, (label, probability) in enumerate(
            zip(p.labels, p.probabilities, strict=True), 1
        )
    ]
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("file", "rank", "label", "probability"), *rows])
        return text.getvalue()
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 2)]
    return "".join(
        f"{file if rank == 1 else '':{widths[0]}}  {label:{widths[1]}}  {share:.4f}\n"
        for file, rank, label, share in rows
    )
