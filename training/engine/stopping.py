"""Handles the signals that stop a run."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from keras_resnet.errors import Stopped
from keras_resnet.streams import SAME_PRESS
from training.engine.progress import Progress


class StopRequest:
    """Turns SIGINT and SIGTERM into a flag that the loop checks between steps.

    Attributes:
        signal: Number of the signal; None until one is received.
    """

    signal: int | None = None

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Listens for signals inside the ``with`` block.

        Signals within a second of the first one count as the same request; a later one
        has its original effect.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread receives signals
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}

        first = math.nan

        def note(number: int, frame: FrameType | None) -> None:
            nonlocal first
            if self.signal is None:
                self.signal, first = number, time.monotonic()
            elif time.monotonic() - first > SAME_PRESS:
                signal.signal(number, before[signal.Signals(number)])
                signal.raise_signal(number)

        for number in numbers:
            signal.signal(number, note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stopped(self, progress: Progress) -> Stopped:
        """Returns the exception that ends the command once the state is saved."""
        # This worker may have received none: a signal to one worker stops all.
        number = self.signal or signal.SIGTERM
        return Stopped(
            f"stopped by {signal.Signals(number).name}, saved at step {progress.step} "
            f"of epoch {progress.epoch + 1}; continue with --resume",
            128 + number,
        )
