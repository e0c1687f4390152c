"""Makes signals, standard output and standard error of a command fail-safe."""

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from types import FrameType
from typing import Any

SAME_PRESS = 1.0  # seconds in which further signals belong to the first


class Interrupt:
    """Raises KeyboardInterrupt for the first Ctrl-C only.

    A further signal within a second counts as the same key press and must not disturb
    the cleanup; a later one ends the process immediately.

    Attributes:
        first: Time of the first signal, in seconds of the monotonic clock.
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


class Output(io.FileIO):
    """A file descriptor that discards output that it cannot write.

    Attributes:
        error: The reason why output was discarded; None if none was.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes ``data``; after an error, records it and discards all output."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def open_streams() -> Output:
    r"""Replaces stdout and stderr with streams that never fail; returns stdout.

    Characters that their encoding lacks are written as escapes like ``\xd7``.
    """
    outputs = {}
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:  # closed; the next opened file would take its number
            os.open(os.devnull, os.O_RDONLY)
        if name == "stdin":
            continue
        outputs[name] = Output(descriptor, "w", closefd=False)
        setattr(sys, name, _stream(outputs[name], getattr(sys, name)))
    return outputs["stdout"]


@contextmanager
def descriptor_silenced(descriptor: int) -> Iterator[None]:
    """Discards everything written to a file descriptor, also by C++ libraries."""
    kept = os.dup(descriptor)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Suppresses what C++ libraries write to stderr, as libjpeg does for damaged files.

    Python's own output, such as progress bars, is shown.
    """
    try:
        shared = sys.stderr.fileno() == 2
    except (AttributeError, OSError):  # no stream, or a notebook's
        shared = False
    with ExitStack() as stack:
        if shared:
            shown = stack.enter_context(_stream(Output(os.dup(2), "w"), sys.stderr))
            stack.enter_context(redirect_stderr(shown))
        stack.enter_context(descriptor_silenced(2))
        yield


def _stream(output: Output, old: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=getattr(old, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=old is None or old.line_buffering or old.write_through,
    )
