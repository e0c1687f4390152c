"""Commands: options, one line for a mistake, exit codes."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest

from keras_resnet import UsageError, __main__, command, list_models
from keras_resnet.command import Stopped


@dataclass(frozen=True)
class Options:
    """Options of a command."""

    epochs: int = 3
    """Passes."""
    schedule: Literal["step", "cosine"] = "step"
    """Learning rate."""
    name: str = "a"
    """Name."""


def test_parse_reads_options() -> None:
    assert command.parse(Options, []) == Options()
    read = command.parse(Options, ["--epochs", "5", "--schedule", "cosine"])
    assert read == Options(5, "cosine")
    default = Options(name="b")
    assert command.parse(Options, ["--epochs", "5"], default=default) == Options(
        5, name="b"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "ten"], "'ten'"),
        (["--epochs"], "--epochs"),
        (["--epoch", "3"], "--epoch"),
        (["--schedule", "linear"], "linear"),
        (["stray"], "stray"),
        (["--name", "a" * 300, "--bogus"], "--bogus"),
    ],
)
def test_bad_option_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as error:
        command.parse(Options, arguments, prog="test")
    message = str(error.value)
    assert said in message and message.endswith("; see --help")
    assert "\n" not in message
    assert not set("│╭╰─") & set(message)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.parse(Options, ["--help"], prog="test")
    assert not stop.value.code
    assert "--epochs" in capsys.readouterr().out


def raiser(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("width must be\n  positive"), 2, "width must be positive"),
        (Stopped("not the same network"), 1, "not the same network"),
        (Stopped("stopped by SIGTERM", 143), 143, "stopped by SIGTERM"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_run_ends_with_one_line_and_a_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        command.run(raiser(error))
    assert stop.value.code == status
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"error: {line}\n")


def test_run_returns_when_done(capsys: pytest.CaptureFixture[str]) -> None:
    command.run(lambda: print("done"))
    assert capsys.readouterr().out == "done\n"


def test_run_hides_no_bug() -> None:
    with pytest.raises(ValueError, match="a bug"):
        command.run(raiser(ValueError("a bug")))


def test_descriptor_is_silenced_for_a_while(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KeyError), command.descriptor_silenced(2):
        print("hidden", file=sys.__stderr__, flush=True)
        raise KeyError
    print("shown", file=sys.__stderr__, flush=True)
    assert capfd.readouterr().err == "shown\n"


def keras_resnet(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "keras_resnet", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["list", "resnet*_v2"], list_models("resnet*_v2")),
        pytest.param(
            ["describe", "resnet20_cifar", "--image-size", "8", "--channels", "1"],
            ["resnet20_cifar: 8×8×1 → 10"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["list", "describe"],
)
def test_module_runs_quietly(arguments: list[str], lines: list[str]) -> None:
    done = keras_resnet(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[: len(lines)] == lines
    assert arguments[0] == "describe" or len(done.stdout.splitlines()) == len(lines)


@pytest.mark.slow
def test_module_tells_a_mistake_in_one_line() -> None:
    done = keras_resnet("describe", "resnet51")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown model 'resnet51'; did you mean ")
    assert "'resnet50'" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "{list, describe, units, deviations, table}"),
        (["bogus"], "bogus"),
        (["describe"], "describe"),
        (["describe", "resnet50", "--image-size", "x"], "'x'"),
        (["describe", "resnet50", "--image-size", "8"], "at least 32×32 pixels"),
        (["describe", "resnet50", "--classes", "-1"], "at least 0, got -1"),
    ],
)
def test_main_tells_a_mistake_in_one_line(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["keras_resnet", *arguments])
    with pytest.raises(SystemExit) as stop:
        command.run(__main__.main)
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert said in printed.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "unbuffered",
    ["1", ""],
)
def test_reader_may_stop_reading(unbuffered: str) -> None:
    line = f"{sys.executable} -m keras_resnet list | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert (done.returncode, done.stderr) == (0, "")
