"""Trains many recipes and compares them (``python -m training.sweep``)."""

import os
import sys

from keras_resnet import command
from keras_resnet.errors import UsageError
from training.sweeps.options import read_options

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main() -> None:
    """Runs the command line."""
    options = read_options(sys.argv[1:])
    tuner_id = os.environ.get("KERASTUNER_TUNER_ID") or None
    check_chief_address(tuner_id)
    command.load_backend("tensorflow", "jax")
    import tensorflow as tf

    from training.sweeps.search import run_search

    # This process only counts costs, so it leaves the GPUs' memory to the trials.
    tf.config.set_visible_devices([], "GPU")
    run_search(options, tuner_id)


def check_chief_address(tuner_id: str | None) -> None:
    """Checks keras-tuner's variables and warns of an address that others can reach.

    Raises:
        UsageError: Some are missing, or the port is invalid.
    """
    host = os.environ.get("KERASTUNER_ORACLE_IP", "")
    port = os.environ.get("KERASTUNER_ORACLE_PORT", "")
    valid = tuner_id and host and port.isdecimal() and 0 < int(port) < 2**16
    if (tuner_id or host) and not valid:
        raise UsageError(
            "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT must be the chief's "
            "address and KERASTUNER_TUNER_ID the name of this process, got "
            f"{host!r}, {port!r} and {tuner_id or ''!r}; set all three or none"
        )
    if host and host not in LOOPBACK:
        print(
            f"warning: anyone who can reach {host} can join this sweep, because "
            "keras-tuner requires no password; restrict access to your own machines",
            file=sys.stderr,
        )


if __name__ == "__main__":
    command.run(main)
