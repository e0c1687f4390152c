"""Reads the cluster of workers from the environment of a process.

``TF_CONFIG`` and the variables of Slurm and Kubernetes all result in a ``TF_CONFIG``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from keras_resnet.errors import UsageError

PORT = 12355  # base port of Slurm tasks, to which the rank on the node is added
MOST = 2**16  # maximum number of nodes, or of tasks, in a cluster
Environment = Mapping[str, str]


def tf_config(environment: Environment) -> dict[str, Any] | None:
    """Returns the content of ``TF_CONFIG``; None for a single process.

    The sources, in this order, are ``TF_CONFIG`` itself; ``WORKER_HOSTS``, a list
    ``host:port,…``, with this worker's index in ``WORKER_INDEX``, in Kubernetes'
    ``JOB_COMPLETION_INDEX`` or at the end of ``HOSTNAME``; and the variables of a Slurm
    step (``srun``) with several tasks.

    Raises:
        UsageError: The variables are set but do not describe a cluster.
    """
    if environment.get("TF_CONFIG"):
        return _from_tf_config(environment["TF_CONFIG"])
    if environment.get("WORKER_HOSTS"):
        return _from_worker_hosts(environment)
    if environment.get("SLURM_STEP_NUM_TASKS", "1") not in ("", "0", "1"):
        return _from_slurm(environment)
    return None


def config(hosts: list[str], index: int) -> dict[str, Any]:
    """Returns the content of ``TF_CONFIG`` for one of several equal workers."""
    return {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}


def addresses_and_index(configured: dict[str, Any]) -> tuple[list[str], int]:
    """Returns the addresses of all workers, the chief's first, and this one's index."""
    cluster, task = configured["cluster"], configured["task"]
    ahead = sum(len(cluster[kind]) for kind in cluster if kind < task["type"])
    addresses = [host for kind in sorted(cluster) for host in cluster[kind]]
    return addresses, ahead + task["index"]


def is_chief(configured: dict[str, Any] | None) -> bool:
    """Checks whether the process with this configuration writes files and prints."""
    if configured is None:
        return True
    task = configured["task"]
    leads = "chief" if "chief" in configured["cluster"] else "worker"
    return (task["type"], task["index"]) == (leads, 0)


def _from_tf_config(text: str) -> dict[str, Any] | None:
    try:
        read = json.loads(text)
        cluster, task = read["cluster"], read["task"]
        task["index"] = int(task["index"])
        hosts = [host for listed in cluster.values() for host in _addresses(listed)]
        known = 0 <= task["index"] < len(cluster[task["type"]])
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ):
        known = False
    if not known:
        raise UsageError(
            'TF_CONFIG must be JSON like {"cluster": {"worker": ["host:port", …]}, '
            f'"task": {{"type": "worker", "index": 0}}}}, got {text:.200}'
        )
    return read if len(hosts) > 1 else None


def _addresses(values: Any) -> list[str]:
    if not all(re.fullmatch(r"\S+:\d+", value) for value in values):
        raise ValueError
    return list(values)


def _from_worker_hosts(environment: Environment) -> dict[str, Any]:
    hosts = [host.strip() for host in environment["WORKER_HOSTS"].split(",")]
    if not all(re.fullmatch(r"\S+:\d+", host) for host in hosts):
        raise UsageError(
            "WORKER_HOSTS must be a list host:port,host:port, got "
            f"{environment['WORKER_HOSTS']!r:.200}"
        )
    number = re.search(r"(\d+)$", environment.get("HOSTNAME", ""))
    index = environment.get("WORKER_INDEX") or environment.get("JOB_COMPLETION_INDEX")
    index = index or (number[1] if number else "")
    if not index.isdecimal() or int(index) >= len(hosts):
        raise UsageError(
            "this worker's index in WORKER_HOSTS must be given by WORKER_INDEX, "
            "JOB_COMPLETION_INDEX or the end of HOSTNAME as a number from 0 to "
            f"{len(hosts) - 1}, got {index!r}"
        )
    return config(hosts, int(index))


def _from_slurm(environment: Environment) -> dict[str, Any]:
    names = ("NUM_TASKS", "NODELIST", "TASKS_PER_NODE")
    values = {
        f"SLURM_STEP_{name}": environment.get(f"SLURM_STEP_{name}") for name in names
    }
    values["SLURM_PROCID"] = environment.get("SLURM_PROCID")
    count, listed, per_node, number = (value or "" for value in values.values())
    try:
        index, total = int(number), int(count)
        tasks, nodes = _tasks(per_node), expand_nodes(listed)
        known = 0 <= index < total <= MOST
    except ValueError:
        known, tasks = False, []
    if known and len(nodes) != len(tasks):
        raise UsageError(
            "SLURM_STEP_TASKS_PER_NODE must have a count for each node in "
            f"SLURM_STEP_NODELIST, got {len(tasks)} counts for {len(nodes)} nodes"
        )
    if not known or sum(tasks) != total:
        given = " ".join(f"{name}={value!r:.200}" for name, value in values.items())
        raise UsageError(
            "the variables of a Slurm step must give its nodes, the tasks on each and "
            f"this task's number, as srun sets them, got {given}; start with srun or "
            "unset SLURM_STEP_NUM_TASKS"
        )
    hosts = [
        f"{node}:{PORT + task}"
        for node, count in zip(nodes, tasks, strict=True)
        for task in range(count)
    ]
    return config(hosts, index)


def _tasks(text: str) -> list[int]:
    """Reads Slurm's ``2(x3),1`` as 2, 2, 2, 1."""
    counts: list[int] = []
    for part in text.split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * _require_at_most(int(times.rstrip(")") or 1))
    return counts


def expand_nodes(text: str) -> list[str]:
    """Reads Slurm's ``gpu[01-03,7],login`` as gpu01, gpu02, gpu03, gpu7, login.

    Raises:
        ValueError: The text is no such list or has a range of over ``MOST`` nodes.
    """
    nodes = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)?", text):
        head, _, rest = part.partition("[")
        if not rest:
            nodes.append(head)
            continue
        listed, _, tail = rest.partition("]")
        for span in listed.split(","):
            first, _, last = span.partition("-")
            count = _require_at_most(int(last or first) + 1 - int(first))
            numbers = range(int(first), int(first) + count)
            nodes += [f"{head}{n:0{len(first)}}{tail}" for n in numbers]
    return nodes


def _require_at_most(count: int) -> int:
    if count > MOST:
        raise ValueError(f"at most {MOST}, got {count}")
    return count
