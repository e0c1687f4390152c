"""Iterates over batches and reports image files that changed during iteration."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_resnet.errors import Stopped
from training.data.examples import CHANGED


@dataclass(frozen=True)
class Batches:
    """Batches that can be iterated over any number of times.

    Iterating raises ``Stopped`` if an image file has disappeared or has changed since
    it was checked when the data set was loaded.

    Attributes:
        dataset: The source of the batches.
    """

    dataset: tf.data.Dataset

    def __iter__(self) -> Iterator[Any]:
        with report_changed_files():
            yield from self.dataset

    def as_numpy_iterator(self) -> Iterator[Any]:
        """Iterates over batches of NumPy arrays."""
        with report_changed_files():
            yield from self.dataset.as_numpy_iterator()


@contextmanager
def report_changed_files() -> Iterator[None]:
    """Converts the errors of files that changed since their check to ``Stopped``."""
    try:
        yield
    except tf.errors.OpError as error:
        lines = str(error).split("\n\t [[")[0].split("\n")
        # A function's error, unlike a data set's, comes after places in the code.
        line = lines[-1] if lines[0].startswith("Graph execution error") else lines[0]
        text = re.sub(r"^{{function_node .*?}} ", "", line)
        found = re.fullmatch(rf"assertion failed: \[({CHANGED})\] \[(.*)\]", text)
        place, reason = (found[2], found[1]) if found else ("", "")
        if re.search("ReadFile|PyFunc", str(error)):
            place, _, reason = text.removeprefix("OSError: ").rpartition("; ")
        if not place:
            raise
        raise Stopped(
            "image files must not change after they are checked, got "
            f"{place}: {reason}; restore it and repeat the command (training.fit: with "
            "--resume; saved checkpoints are kept)"
        ) from error
