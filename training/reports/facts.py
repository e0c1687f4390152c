"""Describes a run in words from the run's files."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from training.reports import count, percent, size
from training.runs.run import Run

LOWEST = 20  # number of classes listed first if there are more


def history(run: Run) -> dict[str, list[float]]:
    """Returns the columns of history.csv."""
    rows = run.epochs
    return {name: [row[name] for row in rows] for name in rows[0]}


def title(config: Mapping[str, Any]) -> str:
    """Returns a title that names the network and the data."""
    data = config["dataset"]["name"]
    return f"{config['model']['name']} on {PurePath(data).name or data}"


def summary(
    config: Mapping[str, Any],
    assessed: Mapping[str, Any],
    columns: Mapping[str, Sequence[float]],
) -> str:
    """Returns a summary of the results and the training time, in two sentences.

    Args:
        config: The run's ``config.json``.
        assessed: The run's assessment.
        columns: Values per epoch by name, with ``seconds`` and ``loss``.
    """
    seconds = round(sum(columns["seconds"]))
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    took = f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
    images = config["dataset"]["examples"]["train"]
    return (
        f"{percent(assessed['top1'])} of {count(assessed['examples'])} "
        f"{assessed['split']} images are classified correctly. Training on "
        f"{count(images)} images for {len(columns['loss'])} epochs took "
        f"{took if seconds >= 60 else f'{seconds} s'} on {_device(config)}."
    )


def trained_on(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns facts about the training data and the optimizer, by name."""
    data, model, recipe = config["dataset"], config["model"], config["recipe"]
    labels = data["labels"]
    few = labels[:12]
    images = ", ".join(f"{count(n)} {name}" for name, n in data["examples"].items())
    mirrored = "mirrored" if data["flip"] else "not mirrored"
    facts = {
        "Data": data["name"],
        "Images": f"{images}; {size(model['input_shape'])} into the network",
        "Classes": f"{len(labels)}: {', '.join(few)}{', …' * (len(labels) > len(few))}",
        "Augmentation": f"{data['augmentation']}, {mirrored}",
        "Trained with": f"{recipe['optimizer']}, learning rate "
        f"{recipe['learning_rate']:g} ({recipe['schedule']}), batches of "
        f"{recipe['batch_size']}, weight decay {recipe['weight_decay']:g}",
    }
    return facts | ({"Notes": "; ".join(data["notes"])} if data["notes"] else {})


def environment(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns facts about the hardware and software of the training, by name."""
    device, machine = config["device"], config.get("environment", {})
    versions = ", ".join(f"{name} {v}" for name, v in config["versions"].items())
    facts = {
        "Device": _device(config),
        "Precision": f"{device['precision']}: {device['precision_reason']}",
        "XLA": f"{'on' if device['xla'] else 'off'}: {device['xla_reason']}",
        "CPU threads": device["threads"],
        "Versions": versions,
        "Seed": config["seed"],
    }
    if machine:
        facts["System"] = f"{machine['system']}, {machine['memory_gib']} GiB memory"
        variables = machine["variables"].items()
        facts["Variables"] = ", ".join(f"{n}={v}" for n, v in variables) or "none"
    return facts


def lowest(classes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the classes with the lowest recall among those with examples."""
    known = [c for c in classes if c["support"]]
    return sorted(known, key=lambda c: c["recall"])[:LOWEST]


def _device(config: Mapping[str, Any]) -> str:
    replicas = config["device"]["replicas"]
    return f"{replicas} × " * (replicas > 1) + str(config["device"]["name"])
