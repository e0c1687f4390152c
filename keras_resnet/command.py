"""What every command shares: options from a dataclass, one-line errors, exit codes.

Exit codes: 0 done; 2 the user's mistake (one line on stderr); 1 anything else.
"""

import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any, TypeVar

import tyro

from keras_resnet.errors import Stopped, UsageError

T = TypeVar("T")


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
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(options, **given)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(f"{_first_sentence(said.getvalue())}; see --help") from None


def run(main: Callable[[], None]) -> None:
    """Runs a command's ``main`` and exits the process with its status."""
    try:
        main()
        sys.stdout.flush()
    except UsageError as error:
        _die(str(error), 2)
    except Stopped as stop:
        _die(str(stop), stop.status)
    except KeyboardInterrupt:
        _die("interrupted", 130)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def start_backend(*, tensorflow: bool = True) -> None:
    """Imports Keras and its backend, holding back what they print as they start.

    Commands call it once the options are read, so that ``--help`` need not wait.

    Args:
        tensorflow: No other backend will do.

    Raises:
        UsageError: Keras is set to another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on CPUs without AVX-512, where it trains 1.5 times
    # as fast all the same (docs/performance.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # TensorFlow's C++ side writes to the descriptor before any log level is heeded.
    with descriptor_silenced(2):
        import keras
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
