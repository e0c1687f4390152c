"""Commands: options, one line for a mistake, exit codes."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import tyro

from keras_resnet import UsageError, __main__, command, list_models, streams
from keras_resnet.command import Stopped
from keras_resnet.optional_imports import hide_packages, unused_packages


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
        (["--epoch", "3"], "--epoch, 3 (did you mean --epochs?)"),
        (["--schedule", "linear"], "linear"),
        (["stray"], "stray"),
        (["--name", "a" * 300, "--bogus"], "--bogus"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_bad_option_is_one_sentence(
    arguments: list[str],
    said: str,
    encoding: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(UsageError) as error:
        command.parse(Options, arguments, prog="test")
    message = str(error.value)
    assert said in message and message.endswith("; see --help")
    assert "\n" not in message
    assert not set("│╭╰─") & set(message) and "helptext" not in message, (
        "tyro prints its messages in another box, which command._tyro_message reads"
    )
    assert (stdout.tell(), capsys.readouterr().err) == (0, "")


LONG = f"width must be a ── power  of 2, got {'9' * 90} │ or more"


@dataclass(frozen=True)
class Checked:
    """Options that are checked."""

    width: int = 2
    """Width."""

    def __post_init__(self) -> None:
        if self.width == 3:
            raise UsageError(LONG)


@dataclass(frozen=True)
class Group:
    """Options with a group of options that are checked."""

    checked: tyro.conf.OmitArgPrefixes[Checked] = field(default_factory=Checked)
    """The group."""


@pytest.mark.parametrize("options", [Checked, Group])
def test_a_message_of_the_options_is_kept(options: type[Any]) -> None:
    with pytest.raises(UsageError) as error:
        command.parse(options, ["--width", "3"], prog="test")
    assert str(error.value) == f"{LONG}; see --help", (
        "tyro no longer keeps the UsageError as the context of its SystemExit, where "
        "command._own_message looks for it"
    )


@dataclass(frozen=True)
class Places:
    """Options with paths."""

    run: tyro.conf.Positional[Path]
    """A folder."""
    others: tuple[Path, ...] = ()
    """Files."""
    out: Path | None = None
    """A file."""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gs://b/run"], "got the URL 'gs://b/run'"),
        (["run", "--out", "s3://b/x"], "got the URL 's3://b/x'"),
        (["run", "--out=file:///tmp/x"], "got the URL 'file:///tmp/x'"),
        (["run", "--others", "a", "gs:/b"], "got the URL 'gs:/b'"),
        (["run", "--out", ""], "not be empty"),
    ],
)
def test_paths_are_local(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=f"^path must .*{said}.*; "):
        command.parse(Places, words, prog="test")
    read = command.parse(Places, ["a:b", "--out", "C:/x", "--others", "/c:/d", "."])
    assert read == Places(Path("a:b"), (Path("/c:/d"), Path()), Path("C:/x"))
    assert command.parse(Places, ["run", "--out", "None"]).out is None


@pytest.mark.parametrize("words", [["\udcff"], ["run", "--out", "runs/\udcff"]])
def test_names_are_utf_8(words: list[str]) -> None:
    said = r"^option or path must be UTF-8, got '.*\\udcff'; rename it$"
    with pytest.raises(UsageError, match=said):
        command.parse(Places, words, prog="test")
    with pytest.raises(UsageError, match=said):
        command.parse_some(Options, words)
    read = command.parse(Places, words, prog="test", any_names=True)
    assert "\udcff" in (read.out or read.run).name


SILENCED = """
import os, sys
from keras_resnet import command, streams

def main():
    with streams.libraries_silenced():
        os.write(2, b"hidden")
        print("×", file=sys.stderr)
    os.write(2, b"after\\n")
    print("last", file=sys.stderr)

if sys.argv[1:]:
    command.run(main)
else:
    main()
"""


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_only_libraries_are_silenced(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENCED, *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert done.stderr == b"\\xd7\nafter\nlast\n"


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
    with pytest.raises(KeyError), streams.descriptor_silenced(2):
        print("hidden", file=sys.__stderr__, flush=True)
        raise KeyError
    print("shown", file=sys.__stderr__, flush=True)
    assert capfd.readouterr().err == "shown\n"


COMMAND = """
import signal, sys, time
from keras_resnet import command, streams
from keras_resnet.errors import UsageError

def main():
    what, done = sys.argv[1:]
    if what == "wrong":
        raise UsageError("size must be 32×32, got \\udcff")
    if what == "wait":
        try:
            print("begun", flush=True)
            time.sleep(60)
        finally:
            time.sleep(0.2)
    for i in range(20_000):
        print("32×32, \\udcff", i)
    open(done, "w").write("mine")

# In the background, as tests may run, Python inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
command.run(main)
"""


def shell(
    what: str, redirections: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the small command above; it has done its work if FOLDER/done is there."""
    script = folder / "script.py"
    script.write_text(COMMAND)
    line = f"{sys.executable} {script} {what} {folder / 'done'} {redirections}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    ("redirections", "status", "said"),
    [
        ("| head -n 1", 0, ""),
        ("| true", 0, ""),
        ("> /dev/full", 1, "No space left on device"),
        (">&-", 1, "Bad file descriptor"),
        ("<&- >&-", 1, "Bad file descriptor"),
        (">&- 2>&-", 1, ""),
        ("> /dev/full 2> /dev/full", 1, ""),
        ("> /dev/null 2> /dev/full", 0, ""),
        ("> /dev/null 2>&-", 0, ""),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_outlives_its_output(
    redirections: str, status: int, said: str, unbuffered: str, tmp_path: Path
) -> None:
    done = shell("work", redirections, tmp_path, PYTHONUNBUFFERED=unbuffered)
    line = f"error: cannot write to standard output: {said}\n" if said else ""
    assert (done.returncode, done.stderr) == (status, line)
    assert (tmp_path / "done").read_text() == "mine"


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_characters_that_a_stream_lacks_are_escaped(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = shell("work", "", tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(r"32\xd732, \udcff 0")
    done = shell("wrong", "", tmp_path, **environment)
    assert done.stderr == "error: size must be 32\\xd732, got \\udcff\n"
    assert done.returncode == 2


@pytest.mark.parametrize("redirections", ["2>&-", "2> /dev/full", "2>&1 | true"])
def test_a_mistake_keeps_its_status(redirections: str, tmp_path: Path) -> None:
    done = shell("wrong", redirections, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize("gap", [0.0, 0.02])
def test_several_interrupts_are_one(gap: float, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(COMMAND)
    line = [sys.executable, str(script), "wait", str(tmp_path / "done")]
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stdout.readline() == "begun\n"
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(gap)
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (130, "error: interrupted\n")


def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        command.run(lambda: print((tmp_path / "gone").read_text()))
    said = f"error: cannot use {tmp_path}/gone: No such file or directory\n"
    assert capsys.readouterr().err == said


@pytest.mark.slow
def test_a_backend_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "keras_resnet", "list"]
    environment = os.environ | {"KERAS_BACKEND": "bogus"}
    done = subprocess.run(
        line, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: Keras' backend must be one that is installed")
    assert done.stderr.count("\n") == 1 and "bogus" in done.stderr


def test_keras_3_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    command.load_backend("tensorflow")
    assert "TF_USE_LEGACY_KERAS" not in os.environ


def test_hidden_packages_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with hide_packages("wave", "json"):
        import json  # imported before

        assert json.dumps([]) == "[]"
        with pytest.raises(ModuleNotFoundError, match="wave"):
            import wave
    import wave

    assert wave.open


def test_jax_is_hidden_only_where_it_is_not_the_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert "jax" in unused_packages()
    for stored, is_hidden in (('{"backend": "jax"}', False), ("[", True), ("[]", True)):
        (tmp_path / "keras.json").write_text(stored)
        assert ("jax" in unused_packages()) == is_hidden
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert "jax" not in unused_packages() and "pandas" in unused_packages()


def test_commands_import_no_backend_before_they_silence_it() -> None:
    root = Path(__file__).parent.parent
    files = [*root.glob("training/*.py"), *root.glob("export/*.py")]
    names = [f"{path.parent.name}.{path.stem}" for path in files]
    assert {"training.fit", "export.benchmark"} <= set(names)
    code = (
        f"import sys, {', '.join(names)}; "
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.slow
def test_commands_import_no_more_than_they_need() -> None:
    # What Keras and TensorFlow would import for others, and what a reader then can.
    code = (
        "import sys; from keras_resnet import command; "
        "command.load_backend('tensorflow'); import keras_resnet.catalogue; "
        "print(*sorted(set(sys.argv[1:]) & set(sys.modules))); "
        "import matplotlib.pyplot, sklearn.datasets"
    )
    packages = ("jax", "matplotlib", "pandas", "scipy", "sklearn", "tensorflow")
    line = [sys.executable, "-c", code, *packages]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tensorflow"]


@pytest.mark.slow
def test_module_runs_quietly() -> None:
    line = [sys.executable, "-m", "keras_resnet", "list", "resnet*_v2"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == list_models("resnet*_v2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "{list, describe, units, deviations}"),
        (["bogus"], "bogus"),
        (["describe"], "describe"),
        (["describe", "resnet50", "--image-size", "x"], "'x'"),
        (["describe", "resnet50", "--image-size", "8"], "at least 32×32 pixels"),
        (["describe", "resnet50", "--classes", "-1"], "at least 0, got -1"),
        (["describe", "resnet51"], "unknown model 'resnet51'; did you mean 'resnet50'"),
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
def test_reader_may_stop_reading() -> None:
    line = f"{sys.executable} -m keras_resnet list | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
