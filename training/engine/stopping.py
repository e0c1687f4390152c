"""Signals that ask a run to stop."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from keras_resnet.command import SAME_PRESS
from keras_resnet.errors import Stopped
from training.engine.progress import Progress


class StopRequest:
    """Turns SIGINT and SIGTERM into a flag that the loop looks at after each step.

    Attributes:
        signal: The signal's number, None as long as none came.
    """

    signal: int | None = None

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Listens inside the ``with`` block.

        Signals within a second after the first belong to it; a later one acts as it
        always did.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread hears signals
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
        """What ends the command once the state is saved."""
        # On this worker none need have come: one on another stops all.
        number = self.signal or signal.SIGTERM
        return Stopped(
            f"stopped by {signal.Signals(number).name}, saved at step {progress.step} "
            f"of epoch {progress.epoch + 1}: continue with --resume",
            128 + number,
        )
