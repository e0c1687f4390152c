"""Trains, stops and resumes runs on JAX: ``jax_runs.py FOLDER RECIPE``.

Makes ``whole`` in the folder, the same run ``resumed`` after a stop, and goes on with
``begun``, which another backend has begun, if it is there.
"""

import json
import os
import signal
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

from keras_resnet import command
from keras_resnet.errors import Stopped


def main() -> None:
    command.load_backend("tensorflow", "jax")
    from training.engine.step import TrainingStep
    from training.evaluate import evaluate_run
    from training.experiment.train import train
    from training.recipes.recipe import Recipe
    from training.runs.run import Run

    folder, recipe = Path(sys.argv[1]), Recipe.from_dict(json.loads(sys.argv[2]))
    train(recipe, Run(folder / "whole"))
    start, left = TrainingStep.start, iter([2, 1, 0])

    def stopping(self: TrainingStep, *batch: object) -> None:
        start(self, *batch)
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    TrainingStep.start = stopping  # type: ignore[method-assign]
    try:
        train(recipe, Run(folder / "resumed"))
    except Stopped as stop:
        print(stop)
    TrainingStep.start = start  # type: ignore[method-assign]
    train(recipe, Run(folder / "resumed"))
    begun = Run(folder / "begun")
    if begun.exists:
        train(begun.recipe, begun)
        print(json.dumps(evaluate_run(begun)["top1"]))


if __name__ == "__main__":
    main()
