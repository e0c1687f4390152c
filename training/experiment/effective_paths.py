"""Trains a run again on effective paths only, as in Veit et al., 2016."""

import json
from dataclasses import replace
from pathlib import Path

import keras

from keras_resnet.analysis.gated import GatedNetwork
from keras_resnet.analysis.paths import EffectivePaths
from keras_resnet.errors import UsageError
from training.engine.step import TrainingStep
from training.experiment.data import require_dataset_location
from training.experiment.train import train
from training.runs.run import Run
from training.storage.writing import write_json


def train_effective(
    run: Run, effective: tuple[int, int], dataset: str | None = None
) -> Run:
    """Trains a run's recipe again with gradients on effective paths only.

    Every image passes through the whole network; the gradient passes through a few
    branches, drawn for each step. The ordinary model is saved, and the range in
    ``effective.json``.

    Args:
        run: The run with the recipe. The new run is in ``RUN-effective`` beside it; an
            interrupted one is continued.
        effective: Range of the effective lengths, from ``training.analyse paths``.
        dataset: Current location of the run's data set; None: its stored location.

    Returns:
        The new run.

    Raises:
        UsageError: The disk or the data does not allow it, or ``RUN-effective`` has
            another range.
        Stopped: A signal or a non-finite loss ended the training.
    """
    repeated = Run(run.path.with_name(f"{run.path.name}-effective"))
    lengths = repeated.path / "effective.json"
    if lengths.is_file():
        _require_lengths(lengths, effective)

    def adapt(training_step: TrainingStep) -> list[keras.callbacks.Callback]:
        write_json(lengths, {"lengths": list(effective)})
        gated = GatedNetwork(training_step.forward.training_model)  # shares the layers
        training_step.forward.training_model = gated.model
        return [EffectivePaths(gated, effective, run.recipe.seed)]

    if not repeated.complete:
        recipe = replace(run.recipe, dataset=dataset or require_dataset_location(run))
        train(recipe, repeated, adapt=adapt)
    full, part = (r.evaluated["top1"] for r in (run, repeated))
    print(f"test error: {1 - full:.2%}; on effective paths only: {1 - part:.2%}")
    return repeated


def _require_lengths(file: Path, effective: tuple[int, int]) -> None:
    stored = tuple(json.loads(file.read_text("utf-8"))["lengths"])
    if stored != effective:
        raise UsageError(
            f"{file.parent} must have effective lengths {effective}, got {stored}; "
            "move it away to train again"
        )
