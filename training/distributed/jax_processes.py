"""Connects the processes that train one model with JAX, and ends them."""

import atexit
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax

from keras_resnet.errors import UsageError, first_few
from keras_resnet.streams import descriptor_silenced
from training.distributed import cluster
from training.distributed.sharding import ShardedReplicas

OTHERS = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
START = 300  # seconds in which all workers must start
END = 10  # seconds for which a worker that has failed waits for the others to end


def connect(environment: Mapping[str, str]) -> ShardedReplicas:
    """Returns the replicas on all devices of all workers, after it connects to them.

    Raises:
        UsageError: JAX's variables are set, or workers differ in number of devices.
    """
    for name in OTHERS:
        if environment.get(name):
            raise UsageError(
                "the workers must be given by TF_CONFIG, WORKER_HOSTS or srun, got "
                f"{name}={environment[name]!r:.200}; unset {name}"
            )
    configured = cluster.tf_config(environment)
    if configured and not jax.distributed.is_initialized():
        _initialize(*cluster.addresses_and_index(configured))
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    counts = Counter(device.process_index for device in devices)
    if len(set(counts.values())) > 1:
        raise UsageError(
            "all workers must have the same number of devices, got "
            f"{first_few(list(counts.values()))}; set CUDA_VISIBLE_DEVICES"
        )
    replicas = ShardedReplicas(devices)
    if replicas.workers > 1:
        with descriptor_silenced(1):  # Gloo reports that it is connected
            replicas.wait()
    return replicas


def _initialize(hosts: list[str], worker: int) -> None:
    """Waits until all workers have started; ends this process if they do not."""
    jax.config.update("jax_enable_preemption_service", False)  # it handles SIGTERM
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    line = (
        f"error: all {len(hosts)} workers must start within {START} seconds and reach "
        f"{hosts[0]}, got fewer; start all of them again\n"
    )
    timer = threading.Timer(START, _exit, (1, line))
    timer.daemon = True
    timer.start()
    local = re.match(r"127\.|localhost:|\[::1\]:", hosts[0])
    try:
        jax.distributed.initialize(
            hosts[0],
            len(hosts),
            worker,
            cluster_detection_method="deactivate",
            initialization_timeout=2 * START,  # JAX would abort
            coordinator_bind_address=hosts[0] if local else None,  # None: all of them
        )
    finally:
        timer.cancel()


@contextmanager
def ending_soon() -> Iterator[None]:
    """Makes a worker that fails exit soon, even if the others do not.

    JAX would wait for them at the exit, for minutes, and then abort.
    """
    try:
        yield
    except BaseException as error:
        if jax.distributed.is_initialized():
            status = getattr(error, "code", getattr(error, "status", 1))
            seconds = 0 if is_lost(error.__context__) else END
            ending = threading.Event()
            # At the exit itself, Python starts no threads.
            threading.Thread(
                target=_exit_after, args=(ending, seconds, status), daemon=True
            ).start()
            atexit.register(ending.set)
        raise


def is_lost(error: BaseException | None) -> bool:
    """Checks whether a computation failed because another worker is gone."""
    failed = isinstance(error, jax.errors.JaxRuntimeError | ValueError)
    failed = failed and jax.distributed.is_initialized()
    return failed and re.search(r"\bGloo\b|\bNCCL\b", str(error)) is not None


def _exit_after(ending: threading.Event, seconds: float, status: int) -> None:
    """Ends the process some time after an event, whatever it does then."""
    ending.wait()
    time.sleep(seconds)
    _exit(status)


def _exit(status: int, line: str = "") -> None:
    sys.stderr.write(line)
    sys.stderr.flush()
    os._exit(status)
