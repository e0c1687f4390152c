"""Trains tiny networks on several logical CPUs: ``replicated.py COUNT OUT FIELDS…``.

Each FIELDS is JSON, of a recipe, which is trained in the folder of its number in OUT. A
process of its own, since TensorFlow splits a device at its start only; one of several
workers where ``TF_CONFIG`` says so. For each recipe it prints, as JSON, whether all its
replicas hold the same weights, average and optimizer state at the end, and a digest of
them to compare with another worker's; or why the recipe was refused.
"""

import hashlib
import json
import sys
from pathlib import Path

from keras_resnet import command

command.load_backend("tensorflow")

import tensorflow as tf

from keras_resnet.errors import UsageError
from training.data.preprocessing import Preprocessing
from training.distributed.backend import backend
from training.distributed.hardware import gpu
from training.engine.step import TrainingStep
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.run import Run

# 25 images in batches of 12: the last batch is one image, for all devices.
RECIPE = {
    "model": "resnet20_cifar",
    "overrides": ["depths=(1,)"],
    "dataset": "synthetic:12x8x3:3:25",
    "epochs": 2,
    "batch_size": 12,
    "learning_rate": 0.02,
    "augmentation": "pad_crop",
}


def main() -> None:
    count, out, *recipes = sys.argv[1:]
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * int(count)
    tf.config.set_logical_device_configuration(cpu, parts)
    training_steps = []
    begin = TrainingStep.__init__

    def remembered(self: TrainingStep, *args: object, **options: object) -> None:
        training_steps.append(self)
        begin(self, *args, **options)  # type: ignore[arg-type]

    TrainingStep.__init__ = remembered  # type: ignore[method-assign]
    for number, fields in enumerate(recipes):
        given = json.loads(fields)
        if given.pop("uncompilable", False):
            choose_xla_in_vain()
        recipe = Recipe.from_dict(RECIPE | given)
        try:
            train(recipe, Run(Path(out, str(number))))
        except UsageError as error:
            print(json.dumps({"refused": str(error)}))
        else:
            print(json.dumps(held_by(training_steps[-1])))


def choose_xla_in_vain() -> None:
    """Makes recipes choose XLA, as on a GPU, and use an operation that it lacks."""
    backend.detect_hardware = lambda: gpu("GPU", 7)
    normalise = Preprocessing.normalise

    def uncompilable(self: Preprocessing, pixels: tf.Tensor) -> tf.Tensor:
        normalised = normalise(self, pixels)
        same = tf.numpy_function(lambda x: x, [normalised], tf.float32)
        return tf.ensure_shape(same, normalised.shape)

    Preprocessing.normalise = uncompilable  # type: ignore[method-assign]


def held_by(training_step: TrainingStep) -> dict[str, object]:
    held = [
        training_step.replicas.locals(variable.value)
        for owner in (training_step, training_step.optimizer)
        for variable in owner.variables
    ]
    equal = all((copy.numpy() == v[0].numpy()).all() for v in held for copy in v)
    digest = hashlib.sha256(b"".join(v[0].numpy().tobytes() for v in held)).hexdigest()
    return {
        "replicas": len(held[0]),
        "equal": bool(equal),
        "digest": digest,
        "steps": int(training_step.optimizer.iterations.numpy()),
    }


if __name__ == "__main__":
    main()
