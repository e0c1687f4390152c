"""Provides options from dataclasses, one-line errors and exit codes to all commands.

Exit codes: 0 for success; 2 for a user error (one line on stderr); 130 for an
interrupt; 1 for any other failure.
"""

import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import tyro

from keras_resnet.errors import Stopped, UsageError, require_local, require_text
from keras_resnet.optional_imports import hide_packages, unused_packages
from keras_resnet.streams import Interrupt, descriptor_silenced, open_streams

T = TypeVar("T")

# The extras that install packages which commands import.
_TRAIN = ("tensorflow_datasets", "PIL", "psutil", "fsspec", "tqdm", "sklearn", "scipy")
EXTRAS = {
    "tensorflow": "train,tensorflow",
    **dict.fromkeys(_TRAIN, "train"),
    **dict.fromkeys(("tensorboard", "jinja2", "matplotlib"), "train"),
    **dict.fromkeys(("keras_tuner", "rich"), "sweep"),
    **dict.fromkeys(("ai_edge_litert", "flatbuffers"), "export"),
}


def parse(
    options: type[T],
    argv: Sequence[str] | None = None,
    *,
    default: T | None = None,
    prog: str | None = None,
    any_names: bool = False,
) -> T:
    """Returns the command line, parsed into ``options``.

    Args:
        options: A dataclass with documented fields, or a union of subcommands.
        argv: The arguments; None means ``sys.argv``.
        default: The default values; None means those of the fields.
        prog: The program name in the help text.
        any_names: Whether the names of files may be other than UTF-8.

    Raises:
        UsageError: An option is unknown or its value is invalid.
    """
    given: Any = {} if default is None else {"default": default}
    if not any_names:
        _require_text(argv)
    result: T = _read(options, args=argv, prog=prog, **given)
    return result


def parse_some(options: type[T], argv: Sequence[str]) -> T:
    """Parses only the fields of ``options``; ignores other options and ``--help``.

    Raises:
        UsageError: A value of one of them is missing or invalid.
    """
    _require_text(argv)
    found: tuple[T, list[str]] = _read(
        options, args=argv, add_help=False, return_unknown_args=True
    )
    return found[0]


def _require_text(argv: Sequence[str] | None) -> None:
    for word in sys.argv[1:] if argv is None else argv:
        require_text("option or path", word)


def _read(options: Any, **given: Any) -> Any:
    """Calls tyro and raises a UsageError if it rejects the command line."""
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            return tyro.cli(options, registry=_REGISTRY, **given)
    except _InvalidPathError as error:
        raise error.args[0] from None
    except SystemExit as stop:
        if not stop.code:
            raise
        message = _own_message(stop) or _tyro_message(printed.getvalue())
        raise UsageError(f"{message}; see --help") from None


def _own_message(stop: SystemExit) -> str | None:
    """Returns the message of the UsageError that a dataclass raised; None: none did."""
    error: BaseException | None = stop
    while error is not None and not isinstance(error, UsageError):
        error = error.__context__
    return None if error is None else str(error)


def _tyro_message(printed: str) -> str:
    """Returns the message of a box that tyro printed, and the options that it suggests.

    tyro has no public exception for an invalid command line, only this text.
    """
    # The lines are dashes if the standard output is not UTF-8.
    parts = re.split("[╭╮╰╯─]{2,}|-{9,}", printed.replace("│", ""))
    _, message, *_ = (*filter(str.strip, parts), printed, printed)
    near = " or ".join(re.findall(r"^[│ ]+(--[a-z][\w-]+)", printed, re.MULTILINE)[:3])
    hint = f" (did you mean {near}?)" if near else ""
    return " ".join(message.split()).rstrip(".") + hint


class _InvalidPathError(Exception):
    """Contains a UsageError; tyro would mix a ValueError with its own messages."""


_REGISTRY = tyro.constructors.ConstructorRegistry()


@_REGISTRY.primitive_rule
def _path_rule(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[Path] | None:
    """Parses options of type Path."""
    if info.type is not Path:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: _local_path(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def _local_path(text: str) -> Path:
    try:
        require_local(text)
        if not text:
            raise UsageError("path must not be empty; the current folder is '.'")
    except UsageError as error:
        raise _InvalidPathError(error) from None
    return Path(text)


def run(main: Callable[[], None]) -> None:
    """Runs a command's ``main`` and exits the process with its status.

    A command completes its work even if its standard output fails. The exit status
    stays 0 if the reader of the output exits (``| head``), and becomes 1 if the output
    is closed or its disk is full.
    """
    if main.__module__ != "__main__":  # called from a test or a notebook
        _complete(main)
        return
    output = open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else: nohup
        signal.signal(signal.SIGINT, Interrupt())
    try:
        _complete(main)
    finally:
        handler = signal.getsignal(signal.SIGINT)
        if isinstance(handler, Interrupt):  # covers the interpreter's shutdown
            after = signal.SIG_IGN if handler.first else signal.SIG_DFL
            signal.signal(signal.SIGINT, after)
    if output.error and not isinstance(output.error, BrokenPipeError):
        _die(f"cannot write to standard output: {output.error.strerror}", 1)


def _complete(main: Callable[[], None]) -> None:
    """Runs ``main`` and exits the process if it fails."""
    try:
        main()
    except (UsageError, Stopped) as error:
        _die(str(error), error.status)
    except KeyboardInterrupt:
        _die("interrupted", 130)
    except SystemExit as stop:
        if stop.code:
            raise
    except (ModuleNotFoundError, OSError) as error:
        if (reason := _explain(error)) is None:
            raise
        _die(reason, 1)
    if sys.stdout is not None:
        sys.stdout.flush()


def _explain(error: ModuleNotFoundError | OSError) -> str | None:
    """Describes a missing package or an unusable file; None: it is another error."""
    if isinstance(error, OSError):
        file = error.filename
        return None if file is None else f"cannot use {file}: {error.strerror}"
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return (
        f"this command needs the package {package}, which is not installed; "
        f"pip install 'residual-keras[{EXTRAS[package]}]'"
    )


def load_backend(*backends: str) -> None:
    """Imports Keras and its backend and suppresses their startup messages.

    Commands call it after they parse the options, so that ``--help`` is fast.

    Args:
        *backends: Backends on which the command runs; TensorFlow is imported with each
            of them, to read data. Without names, every backend will do.

    Raises:
        UsageError: Keras is set to another backend, or its backend does not start.
    """
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # it would select Keras 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow disables oneDNN on CPUs without AVX-512, although training there is
    # 1.5 times as fast with it (docs/performance.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # TensorFlow's C++ code writes to the descriptor before it applies the log level.
    try:
        with descriptor_silenced(2), hide_packages(*unused_packages()):
            import keras

            if backends:
                import_module("tensorflow")
    except (ImportError, ValueError, AssertionError) as error:
        if backends and getattr(error, "name", None) == "tensorflow":
            raise  # names the extra to install
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"Keras' backend must be one that is installed, got {reason:.200}; unset "
            "KERAS_BACKEND or change ~/.keras/keras.json"
        ) from error
    if backends and (backend := keras.backend.backend()) not in backends:
        raise UsageError(
            f"Keras' backend must be {' or '.join(backends)} for this command, got "
            f"{backend}; unset KERAS_BACKEND or change ~/.keras/keras.json"
        )


def _die(message: str, status: int) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
