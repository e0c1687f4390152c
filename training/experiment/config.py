"""Describes an experiment for config.json and for the terminal."""

import json
import os
import platform
import shlex
import sys
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf

import keras_resnet
from keras_resnet.describe import count_macs, count_params
from keras_resnet.errors import UsageError
from training.data.identity import describe_dataset, resolved
from training.distributed.backend import backend
from training.experiment.augmentation import augmentation_names
from training.experiment.experiment import Experiment
from training.recipes.recipe import Recipe
from training.runs.run import Run
from training.storage.system import cpu_count

PACKAGES = {
    "residual-keras": keras_resnet,
    "tensorflow": tf,
    "keras": keras,
    "numpy": np,
}

# Prefixes of environment variables that change what a backend computes, or where.
VARIABLES = (
    *("TF_CONFIG", "TF_DETERMINISTIC", "TF_DISABLE", "TF_ENABLE", "TF_GPU", "TF_NUM"),
    *("TF_XLA", "XLA_", "CUDA_VISIBLE", "NVIDIA_TF32", "OMP_", "ONEDNN_", "JAX_"),
)


def describe_experiment(experiment: Experiment) -> dict[str, Any]:
    """Returns everything needed to repeat the run."""
    recipe, dataset, plan = experiment.recipe, experiment.dataset, experiment.plan
    spec: Any = experiment.spec  # a dataclass
    augmentation = experiment.data.augmentation
    return {
        "recipe": recipe.to_dict(),
        "command": _command(),
        "model": {
            "name": recipe.model,
            "overrides": recipe.spec_fields,
            "spec": asdict(spec),
            "input_shape": list(experiment.preprocessing.input_shape),
            "classes": len(dataset.labels),
            "params": count_params(experiment.model),
            "macs": count_macs(experiment.model),
        },
        "dataset": {
            "name": dataset.name,
            **describe_dataset(dataset),
            "augmentation": augmentation.geometry,
            "flip": augmentation.flip,
            "notes": list(dataset.notes),
        },
        "preprocessing": experiment.preprocessing.to_dict(),
        "device": {
            "name": plan.hardware.name,
            "precision": plan.precision,
            "precision_reason": plan.precision_reason,
            "xla": plan.xla,
            "xla_reason": plan.xla_reason,
            "backend": keras.backend.backend(),
            "threads": cpu_count(),
            "replicas": experiment.replicas.count,
        },
        "seed": recipe.seed,
        "versions": {"python": platform.python_version()}
        | {name: package.__version__ for name, package in PACKAGES.items()}
        | backend.library_versions(plan.hardware),
        "environment": _environment(),
    }


def _command() -> str:
    """Returns the command that started this process."""
    spec = sys.modules["__main__"].__spec__
    module = "training.fit" if spec is None else spec.name.removesuffix(".__main__")
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def _environment() -> dict[str, Any]:
    """Describes the machine and its environment variables ``VARIABLES``."""
    return {
        "system": platform.platform(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(VARIABLES)
        },
    }


def require_same(stored: dict[str, Any], now: dict[str, Any]) -> None:
    """Checks that a session would continue the run of the stored config.

    Raises:
        UsageError: The recipe or the data is different.
    """
    known = "digest" in stored["dataset"]  # older versions do not store it
    before, after = _fixed_settings(stored, known), _fixed_settings(now, known)
    for name in before | after:
        if before.get(name) != after.get(name):
            raise UsageError(
                f"a run must be resumed with the same {name}, {before.get(name)!r}, "
                f"got {after.get(name)!r}"
            )


def _fixed_settings(config: dict[str, Any], digests: bool) -> dict[str, Any]:
    """Returns the settings, by name, that all sessions of a run must share.

    A data set is compared by its contents, or without digests by its location.
    """
    config = json.loads(json.dumps(config))  # tuples become lists, as in the file
    # Fields that are missing from the recipe of an older version get their defaults.
    recipe = Recipe.from_dict(config["recipe"])
    dataset = config["dataset"]
    return {
        **recipe.fixed,
        **({} if digests else {"dataset": resolved(_location(config))}),
        **{f"{name} images": n for name, n in dataset["examples"].items()},
        **{f"class {i}": name for i, name in enumerate(dataset["labels"])},
        **{
            f"images and labels of {name} (SHA-256)": digest
            for name, digest in dataset.get("digest", {}).items()
            if digests
        },
        **{f"preprocessing {n}": v for n, v in config["preprocessing"].items()},
    }


def _location(config: dict[str, Any]) -> str:
    return str(config["dataset"].get("place", config["recipe"]["dataset"]))


def update_location(run: Run, now: dict[str, Any]) -> None:
    """Stores the new location of a run's data set that was moved."""
    stored = run.config
    if stored["dataset"].get("place") not in (None, now["dataset"]["place"]):
        stored["dataset"]["place"] = now["dataset"]["place"]
        run.create(stored)


def warn_of_rounding(stored: dict[str, Any], now: dict[str, Any]) -> None:
    """Warns on stderr of changes that make the rest of a run round differently."""
    before, after = (c["recipe"].get("deterministic") for c in (stored, now))
    if before not in (None, after):  # None: begun by a version that did not store it
        change = "with --deterministic, begun without"
        if before:
            change = "without --deterministic, begun with it"
        print(
            f"warning: resumed {change}: on a GPU the result may differ by rounding "
            "from an uninterrupted run",
            file=sys.stderr,
        )
    before, after = (c["device"].get("backend", "tensorflow") for c in (stored, now))
    if before != after:
        print(
            f"warning: resumed on {after}, begun on {before}: the result will differ "
            "by rounding, and dropout and stochastic depth draw other numbers",
            file=sys.stderr,
        )
    for name in ("threads", "replicas"):
        before, after = stored["device"].get(name), now["device"][name]
        if before not in (None, after):
            change = "result will differ by rounding from an uninterrupted run"
            if name == "replicas" and now["recipe"]["batch_norm"] == "replica":
                change = "batch norms now see other numbers of images"
            print(
                f"warning: resumed with {after} {name}, begun with {before}: the "
                f"{change}",
                file=sys.stderr,
            )


def print_summary(experiment: Experiment, run: Run) -> None:
    """Prints the model, data, augmentation and device, and why it was chosen."""
    dataset, model = experiment.dataset, experiment.model
    sizes = ", ".join(f"{len(s):,} {name}" for name, s in dataset.splits.items())
    applied = experiment.data.augmentation
    kinds = [applied.geometry, *augmentation_names(experiment.recipe)]
    augmentation = ", ".join(kinds)
    mirrored = "" if applied.flip else "not "
    size = "×".join(map(str, model.input_shape[1:]))
    print(f"model:  {model.name}, {count_params(model):,} parameters")
    print(f"data:   {dataset.name}: {sizes}, {len(dataset.labels)} classes")
    for note in (*dataset.notes, *experiment.notes):
        print(f"        {note}")
    print(f"images: {size}, augmented by {augmentation}, {mirrored}mirrored")
    print(f"device: {experiment.plan}")
    print(f"run:    {run.path}", flush=True)
