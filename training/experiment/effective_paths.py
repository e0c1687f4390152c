"""Training on effective paths only, as Veit et al., 2016, repeat their network's."""

import json
from dataclasses import replace

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
    """Trains a run's recipe anew, each step's gradients on effective paths only.

    Every image flows through the whole network; the gradient flows through a few
    branches, drawn for each step. What is saved is the ordinary network, and in
    ``effective.json`` the range.

    Args:
        run: The recipe, and the folder beside which ``RUN-effective`` is made. One
            that was interrupted goes on.
        effective: Range of the effective lengths, from ``analysis paths``.
        dataset: Where the run's data set is now; None: where it was.

    Returns:
        The new run.

    Raises:
        UsageError: Disk or data do not allow it, or ``RUN-effective`` is of another
            range.
        Stopped: A signal or a non-finite loss ended it.
    """
    beside = Run(run.path.with_name(f"{run.path.name}-effective"))
    lengths = beside.path / "effective.json"
    if lengths.is_file():
        stored = tuple(json.loads(lengths.read_text("utf-8"))["lengths"])
        if stored != effective:
            raise UsageError(
                f"{beside.path} must be of effective lengths {effective}, got one of "
                f"{stored}; move it away to train anew"
            )

    def adapt(trainer: TrainingStep) -> list[keras.callbacks.Callback]:
        write_json(lengths, {"lengths": list(effective)})
        gated = GatedNetwork(trainer.network)  # of the same layers
        trainer.network = gated.model
        return [EffectivePaths(gated, effective, run.recipe.seed)]

    if not beside.complete:
        recipe = replace(run.recipe, dataset=dataset or require_dataset_location(run))
        train(recipe, beside, adapt=adapt)
    full, part = (r.evaluated["top1"] for r in (run, beside))
    print(f"error: all paths {1 - full:.2%}, effective paths {1 - part:.2%}")
    return beside
