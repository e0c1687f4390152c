"""What every command shares: options from a dataclass, one-line errors, exit codes.

Exit codes: 0 done; 2 the user's mistake (one line on stderr); 1 anything else; 130
interrupted.
"""

import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import tyro

from keras_resnet.errors import Stopped, UsageError, require_local

T = TypeVar("T")

SAME_PRESS = 1.0  # seconds in which further signals belong to the first


def parse(
    options: type[T],
    argv: Sequence[str] | None = None,
    *,
    default: T | None = None,
    prog: str | None = None,
) -> T:
    """Reads the command line into ``options``, a dataclass with documented fields.

    Raises:
        UsageError: An option is unknown or its value unreadable.
    """
    given: Any = {} if default is None else {"default": default}
    result: T = _read(options, args=argv, prog=prog, **given)
    return result


def parse_some(options: type[T], argv: Sequence[str]) -> T:
    """Reads only the options of ``options``, ignoring all others and ``--help``.

    Raises:
        UsageError: A value of one of them is missing or unreadable.
    """
    found: tuple[T, list[str]] = _read(
        options, args=argv, add_help=False, return_unknown_args=True
    )
    return found[0]


def _read(options: Any, **given: Any) -> Any:
    """Calls tyro; raises UsageError in the place of its framed message."""
    said, paths = io.StringIO(), _Paths()
    try:
        with redirect_stderr(said), paths.registry:
            return tyro.cli(options, **given)
    except SystemExit as stop:
        if not stop.code:
            raise
        if paths.fault:  # tyro would tell it between its other attempts
            raise paths.fault from None
        raise UsageError(f"{_first_sentence(said.getvalue())}; see --help") from None


class _Paths:
    """Reads options of type Path: local paths, not empty.

    Attributes:
        registry: Has tyro read them so, inside a ``with``.
        fault: Of a path that was refused.
    """

    def __init__(self) -> None:
        self.registry = tyro.constructors.ConstructorRegistry()
        self.registry.primitive_rule(self._rule)
        self.fault: UsageError | None = None

    def _rule(
        self, info: tyro.constructors.PrimitiveTypeInfo
    ) -> tyro.constructors.PrimitiveConstructorSpec[Path] | None:
        if info.type is not Path:
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="PATH",
            instance_from_str=lambda words: self._read(words[0]),
            is_instance=lambda value: isinstance(value, Path),
            str_from_instance=lambda path: [str(path)],
        )

    def _read(self, text: str) -> Path:
        try:
            require_local(text)
            if not text:
                raise UsageError("path must not be empty; the current folder is '.'")
        except UsageError as fault:
            self.fault = fault
            raise
        return Path(text)


def run(main: Callable[[], None]) -> None:
    """Runs a command's ``main`` and exits the process with its status.

    A command does all of its work even when its standard output fails. If the output's
    reader went away (``| head``), the status stays 0; if the output is closed or its
    disk full, it becomes 1.
    """
    if main.__module__ != "__main__":  # the process is a test's or a notebook's
        _complete(main)
        return
    output = _open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else: nohup
        signal.signal(signal.SIGINT, _Interrupt())
    try:
        _complete(main)
    finally:
        handler = signal.getsignal(signal.SIGINT)
        if isinstance(handler, _Interrupt):  # the interpreter still has to shut down
            after = signal.SIG_IGN if handler.first else signal.SIG_DFL
            signal.signal(signal.SIGINT, after)
    if output.error and not isinstance(output.error, BrokenPipeError):
        _die(f"cannot write to standard output: {output.error.strerror}", 1)


def _complete(main: Callable[[], None]) -> None:
    """Runs ``main``; exits where it fails."""
    try:
        main()
    except (UsageError, Stopped) as error:
        _die(str(error), error.status)
    except KeyboardInterrupt:
        _die("interrupted", 130)
    except SystemExit as stop:
        if stop.code:
            raise
    except OSError as error:
        if error.filename is None:
            raise
        _die(f"cannot use {error.filename}: {error.strerror}", 1)
    if sys.stdout is not None:
        sys.stdout.flush()


class _Interrupt:
    """Has a Ctrl-C raise KeyboardInterrupt only once.

    What comes within a second is the same press and must not disturb the clearing up;
    what comes later ends the process at once.

    Attributes:
        first: When the first one came, in seconds of the monotonic clock.
    """

    first: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handles SIGINT."""
        now = time.monotonic()
        if self.first is None:
            self.first = now
            raise KeyboardInterrupt
        if now - self.first > SAME_PRESS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


class _Output(io.FileIO):
    """A descriptor that drops what cannot be written.

    Attributes:
        error: Why something was dropped; None: nothing was.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes, or remembers why it cannot and writes to nowhere from now on."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def _open_streams() -> _Output:
    r"""Replaces standard output and error by streams that never fail.

    Characters that their encoding lacks are written as ``\xd7``.

    Returns:
        Standard output.
    """
    outputs = {}
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:  # closed; the next file to be opened would take its number
            os.open(os.devnull, os.O_RDONLY)
        if name == "stdin":
            continue
        old = getattr(sys, name)
        outputs[name] = _Output(descriptor, "w", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(outputs[name]),
            encoding=getattr(old, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=old is None or old.line_buffering or old.write_through,
        )
        setattr(sys, name, stream)
    return outputs["stdout"]


def load_backend(*, tensorflow: bool = True) -> None:
    """Imports Keras and its backend, holding back what they print as they start.

    Commands call it once the options are read, so that ``--help`` need not wait.

    Args:
        tensorflow: No other backend will do.

    Raises:
        UsageError: Keras is set to another backend, or to one that does not start.
    """
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Keras 3 is meant
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on CPUs without AVX-512, where it trains 1.5 times
    # as fast all the same (docs/performance.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # TensorFlow's C++ side writes to the descriptor before any log level is heeded.
    try:
        with descriptor_silenced(2):
            import keras
    except (ImportError, ValueError, AssertionError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"Keras' backend must be one that is installed, got {said:.200}; unset "
            "KERAS_BACKEND or change ~/.keras/keras.json"
        ) from error
    backend = keras.backend.backend()
    if tensorflow and backend != "tensorflow":
        raise UsageError(
            f"Keras' backend must be tensorflow for this command, got {backend}; unset "
            "KERAS_BACKEND or change ~/.keras/keras.json"
        )


@contextmanager
def descriptor_silenced(descriptor: int) -> Iterator[None]:
    """Holds back what is written to a file descriptor, by C++ libraries too."""
    kept = os.dup(descriptor)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _die(message: str, status: int) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def _first_sentence(box: str) -> str:
    """The text of tyro's framed message up to its first rule."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    rule = next(
        (i for i, line in enumerate(lines) if line.startswith(("─", "╰"))), None
    )
    sentence = " ".join(lines[:rule]) or " ".join(box.split())
    # What the dataclass itself refuses names its field; tyro puts the group's in front.
    return re.sub(r"^Error parsing (?!-)[\w-]+: ", "", sentence)
