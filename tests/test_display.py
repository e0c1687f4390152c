"""What a person sees of training, in a file and in a terminal."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import keras
import pytest

from training.engine.callbacks.display import Display
from training.engine.progress import Progress

LOGS = {
    "loss": 0.5,
    "top1": 0.75,
    "val_loss": 0.6,
    "val_top1": 0.7,
    "learning_rate": 0.0123,
    "seconds": 20.0,
    "images_per_second": 1234.5,
    "waiting": 0.1,
    "memory_gib": 1.26,
}


def display(epochs: int = 3) -> Display:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    made = Display(Progress(), images=100)
    made.set_model(model)
    made.set_params({"epochs": epochs, "steps": 4})
    return made


def test_an_epoch_is_a_line_with_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = display()
    for epoch in range(3):
        made.on_epoch_begin(epoch)
        made.on_train_batch_end(0, {"loss": 1.0, "top1": 0.5, "examples": 25})
        made._began -= 60  # a minute ago
        made.on_epoch_end(epoch, LOGS)
    made.on_train_end()
    said = capsys.readouterr()
    first, second, third = said.out.splitlines()
    assert first == (
        "epoch 1/3: loss 0.5000, top1 0.7500, val_loss 0.6000, val_top1 0.7000, "
        "lr 0.0123, 1,234 images/s, 1.3 GiB, 02:00 left"
    )
    assert second.endswith(", 01:00 left") and third.endswith("1.3 GiB")
    assert said.err == ""


@pytest.mark.parametrize(
    ("waiting", "seconds", "warned"),
    [(0.63, 20.0, True), (0.63, 1.0, False), (0.15, 100.0, False)],
)
def test_a_pipeline_that_is_the_bottleneck_is_named_once_an_epoch(
    waiting: float, seconds: float, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    made = display()
    made.on_epoch_begin(0)
    made.on_epoch_end(0, LOGS | {"waiting": waiting, "seconds": seconds})
    said = capsys.readouterr().err
    assert said.count("\n") == warned
    assert ("warning: 63% of epoch 1 was spent waiting for images" in said) == warned


@pytest.mark.slow
def test_a_terminal_shows_a_bar(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 160))
    line = [sys.executable, "-m", "training.fit", "--epochs", "2", "--batch-size", "8"]
    line += ["--overrides", "depths=(1,1,1)", "--dataset", "synthetic:12x8x3:3:1000"]
    process = subprocess.Popen([*line, "--out", str(tmp_path / "run")], stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other side was closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"epoch 1/2: +\d+%", text)
    assert re.search(
        r"images/s, loss \d\.\d+, top1 \d\.\d+, lr [\d.e-]+, \d\.\d GiB", text
    )
    assert re.search(r"epoch 2/2, \d\d:\d\d left: +\d+%", text)
