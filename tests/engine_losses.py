"""Prints the first losses and the evaluation of recipes on the Keras backend of now.

``KERAS_BACKEND=jax python tests/engine_losses.py CASES``: CASES is JSON, of names and,
for each, a number of devices and recipe fields; printed is JSON, of names and results.
"""

import itertools
import json
import sys
from typing import Any

from keras_resnet import command

STEPS = 10


def first_losses(fields: dict[str, Any]) -> dict[str, Any]:
    from training.evaluation.assessment import predict
    from training.evaluation.metrics import Evaluator
    from training.experiment.experiment import build_experiment
    from training.experiment.train import epoch_batches, make_training_step
    from training.recipes.recipe import Recipe

    experiment = build_experiment(Recipe.from_dict(fields))
    with experiment.replicas.scope():
        step = make_training_step(experiment)
        batches = epoch_batches(experiment)
        epochs = itertools.chain.from_iterable(batches(i, 0) for i in range(STEPS))
        losses = [step.step(*batch) for batch in itertools.islice(epochs, STEPS)]
        step.sync()
        evaluator = Evaluator(
            experiment.model, experiment.preprocessing, replicas=experiment.replicas
        )
        found = predict(evaluator, experiment.dataset, experiment.preprocessing, "test")
    return {
        "losses": losses,
        "trained_on": step.metrics.examples,
        "devices": experiment.replicas.count,
        **found.summary(),
    }


def main() -> None:
    command.load_backend("tensorflow", "jax")
    import jax

    every, found = jax.devices(), {}
    for name, (count, fields) in json.loads(sys.argv[1]).items():
        jax.devices = lambda count=count: every[:count]
        found[name] = first_losses(fields)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
