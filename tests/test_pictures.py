"""The report's plots: their words, and what is drawn of what."""

import re

import numpy as np
import pytest

from training import reports
from training.evaluation.predictions import Predictions
from training.reports.pictures import (
    DRAWN_CLASSES,
    calibration,
    confused,
    confusion,
    curves,
)
from training.sweeps.pictures import parallel

COLUMNS = {
    "loss": [2.0, 0.5],
    "val_loss": [2.5, 0.7],
    "top1": [0.25, 0.75],
    "val_top1": [0.2, 0.7],
    "learning_rate": [0.1, 0.0],
    "images_per_second": [100.0, 1200.0],
    "waiting": [0.1, 0.3],
}


def test_curves_say_in_words_what_they_show() -> None:
    loss, error, rate, speed = curves(COLUMNS)
    assert "from 2 to 0.5" in loss.text and "from 2.5 to 0.7" in loss.text
    assert "from 75 to 25" in error.text
    assert "from 0.1 to 0." in rate.text
    assert speed.text == (
        "100 images per second in the first epoch and 1,200 in the others (median); "
        "20 % of the time was spent waiting for data."
    )


def test_names_of_any_script_are_drawn_without_a_warning() -> None:
    """Cuneiform too, for which hardly a machine has a font: the page's reader may."""
    names = ["猫", "犬 cat", "\U00012000", "é"]
    picture = confusion(np.eye(4, dtype=int), names)
    assert picture is not None
    assert all(f">{name}</text>" in picture.svg for name in names)


@pytest.mark.parametrize("epochs", [2, 30])
def test_curves_begin_at_the_first_epoch(epochs: int) -> None:
    axes = reports.canvas()
    axes.plot(range(1, epochs + 1), [0.5] * epochs)
    reports.epoch_axis(axes)
    assert axes.get_xlim()[0] == 1
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_one_epoch_is_a_point() -> None:
    columns = {name: values[:1] for name, values in COLUMNS.items()}
    assert all("<use" in picture.svg for picture in curves(columns))


def test_a_sweeps_accuracy_is_named_and_in_per_cent() -> None:
    rows = [
        {
            "trial": f"t{i}",
            "model": f"net{i}",
            "params": 1000 * (i + 1),
            "val_top1": top1,
        }
        for i, top1 in enumerate((0.9861, 0.5))
    ]
    picture = parallel(rows, ["model"])
    for text in ("held-out top-1, %", "98.61", "parameters", "2000"):
        assert f">{text}</text>" in picture.svg
    assert picture.text.startswith(
        "One line for each of 2 trials through model, parameters, held-out top-1, %;"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("least", "logarithmic"), [(0.01, True), (0.5, False)])
def test_loss_that_falls_far_is_drawn_by_its_logarithm(
    least: float, logarithmic: bool
) -> None:
    columns = COLUMNS | {"loss": [2.0, least], "val_loss": [2.0, least]}
    assert ("10−" in re.sub(r"<[^>]+>|\s", "", curves(columns)[0].svg)) == logarithmic


COUNTS = np.array([[5, 0, 1], [2, 3, 0], [0, 0, 4]])


def test_what_is_mistaken_for_what() -> None:
    names = ("cat", "dog", "$1 & <b>")
    assert confused(COUNTS, names) == [
        {"label": "dog", "predicted": "cat", "count": 2},
        {"label": "cat", "predicted": "$1 & <b>", "count": 1},
    ]
    picture = confusion(COUNTS, names)
    assert picture is not None
    assert picture.text.startswith("Most frequent mistakes: dog taken for cat (2), cat")
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)
    assert drawn.count("$1 &amp; &lt;b&gt;") == 2
    assert {"5", "1", "2", "3", "4"} <= set(drawn)


def test_too_many_classes_are_not_drawn() -> None:
    names = [str(i) for i in range(DRAWN_CLASSES + 1)]
    assert confusion(np.eye(len(names), dtype=int), names) is None
    assert confusion(np.eye(DRAWN_CLASSES, dtype=int), names[:-1]) is not None


@pytest.mark.parametrize(
    ("confidence", "word"),
    [
        (0.99, "so the model is overconfident"),
        (0.55, "so the model is underconfident"),
        (0.605, "neither over- nor underconfident"),
    ],
)
def test_calibration_names_its_direction(confidence: float, word: str) -> None:
    right = np.array([0, 0, 0, 1, 1])
    sure = np.full(5, confidence)
    made = Predictions(np.zeros(5, int), right, sure, np.zeros(5), right < 2)
    picture = calibration(made.calibration(), made.calibration_error())
    assert word in picture.text and "accuracy is 60.00 %" in picture.text
    assert f"{abs(confidence - 0.6):.4f}" in picture.text


@pytest.mark.parametrize(
    ("number", "said"),
    [(7, "7"), (1000, "1 k"), (2_516_608, "2.52 M"), (4.1e9, "4.1 G")],
)
def test_large_numbers_are_short(number: int, said: str) -> None:
    assert reports.short(number) == said


def test_numbers_for_people() -> None:
    assert reports.percent(0.98611) == "98.61 %" and reports.percent(None) == "–"
    assert reports.count(1437) == "1,437" and reports.size((8, 8, 1)) == "8×8×1"
