"""Explains what to do if a device has too little memory for a step."""

from collections.abc import Iterator
from contextlib import contextmanager

from keras_resnet.errors import UsageError
from training.distributed.backend import backend


@contextmanager
def explain_memory_errors(batch_size: int, accumulation: int) -> Iterator[None]:
    """Raises a UsageError if the device runs out of memory inside the ``with`` block.

    Args:
        batch_size: Number of images in a batch.
        accumulation: Number of parts in which a batch is computed.
    """
    try:
        yield
    except Exception as error:
        if not backend.is_out_of_memory(error):
            raise
        raise UsageError(
            f"the device must have memory for a step, got none left with batch_size "
            f"{batch_size} and accumulation {accumulation}; choose a smaller "
            f"batch_size, or --accumulation {2 * accumulation}, which computes a batch "
            "in as many parts (the last checkpoint is kept)"
        ) from error
