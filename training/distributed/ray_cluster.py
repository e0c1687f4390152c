"""Trains with workers on a Ray cluster, which monitors and restarts them."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_resnet.errors import Stopped, UsageError
from training.runs.run import Run


def connect(address: str) -> Any:
    """Returns the module ``ray``, connected to the cluster at that address.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--ray needs Ray to be installed, got none; pip install residual-keras[ray]"
        ) from None
    try:
        ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING)
    except (ConnectionError, ValueError) as error:
        raise UsageError(
            f"--ray must be the address of a Ray cluster, got {address!r}: "
            f"{str(error).splitlines()[0]:.200}"
        ) from error
    return ray


def supervise(
    ray: Any,
    run: Run,
    work: Callable[[list[str]], None],
    arguments: list[str],
    workers: int,
    restarts: int,
) -> None:
    """Trains with Ray's TensorflowTrainer; workers need this folder and the run's.

    Args:
        ray: The module returned by ``connect``.
        run: The workers' run.
        work: Trains, given the arguments; workers must be able to import it.
        arguments: Command-line arguments of ``python -m training.fit``.
        workers: Number of workers.
        restarts: Maximum number of restarts.

    Raises:
        Stopped: Workers failed more often than that.
    """
    from ray import train
    from ray.train.tensorflow import TensorflowTrainer

    gpus = ray.cluster_resources().get("GPU", 0) > 0
    values = {
        "folder": os.getcwd(),
        "run": str(run.path.absolute()),
        "arguments": arguments,
        "work": work,
        "backend": os.environ.get("KERAS_BACKEND", ""),
    }
    with tempfile.TemporaryDirectory() as notes:  # for Ray only; ours are in the run
        failures = train.FailureConfig(max_failures=restarts)
        trainer = TensorflowTrainer(
            _work,
            train_loop_config=values,
            scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=gpus),
            run_config=train.RunConfig(storage_path=notes, failure_config=failures),
        )
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            raise Stopped(_reason(error, run)) from error
        finally:
            ray.shutdown()


def _work(config: dict[str, Any]) -> None:
    """Trains in one of Ray's workers; Ray has set ``TF_CONFIG``."""
    if config["backend"]:  # Ray's workers have the variables of its own start
        os.environ["KERAS_BACKEND"] = config["backend"]
    os.chdir(config["folder"])
    sys.argv = ["fit", *config["arguments"]]
    line = [*config["arguments"], "--out", config["run"]]
    if Run(Path(config["run"])).exists:
        line.append("--resume")
    config["work"](line)


def _reason(error: Exception, run: Run) -> str:
    failures = getattr(error, "worker_failures", {})
    causes = [str(failure).strip().splitlines()[-1] for failure in failures.values()]
    cause = causes[0] if causes else str(error).strip().splitlines()[-1]
    return (
        f"Ray's workers must run to the end, got {cause:.300}; the last checkpoint in "
        f"{run.path} is kept: continue with --resume"
    )
