"""Who trains together, as the environment of a process has it.

Plain ``TF_CONFIG``, or what Slurm and Kubernetes set, as one ``TF_CONFIG``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from keras_resnet.errors import UsageError

PORT = 12355  # of every Slurm task; its rank on the node is added
Environment = Mapping[str, str]


def tf_config(environment: Environment) -> dict[str, Any] | None:
    """Returns the content of ``TF_CONFIG``, None for a process on its own.

    Looked for in this order: ``TF_CONFIG`` itself; ``WORKER_HOSTS``, a list
    ``host:port,…``, with this worker's place in it in ``WORKER_INDEX``, Kubernetes'
    ``JOB_COMPLETION_INDEX``, or at the end of ``HOSTNAME``; the variables of a Slurm
    step (``srun``) of several tasks.

    Raises:
        UsageError: They are there but do not make a cluster.
    """
    if environment.get("TF_CONFIG"):
        return _given(environment["TF_CONFIG"])
    if environment.get("WORKER_HOSTS"):
        return _listed(environment)
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _slurm(environment)
    return None


def config(hosts: list[str], index: int) -> dict[str, Any]:
    """The content of ``TF_CONFIG`` for one of several equal workers."""
    return {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}


def is_chief(configured: dict[str, Any] | None) -> bool:
    """Whether the process with that configuration writes files and speaks."""
    if configured is None:
        return True
    task = configured["task"]
    leads = "chief" if "chief" in configured["cluster"] else "worker"
    return (task["type"], task["index"]) == (leads, 0)


def _given(text: str) -> dict[str, Any] | None:
    try:
        read = json.loads(text)
        cluster, task = read["cluster"], read["task"]
        known = 0 <= int(task["index"]) < len(cluster[task["type"]])
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise UsageError(
            'TF_CONFIG must be JSON like {"cluster": {"worker": ["host:port", …]}, '
            f'"task": {{"type": "worker", "index": 0}}}}, got {text:.200}'
        )
    return read if sum(map(len, cluster.values())) > 1 else None


def _listed(environment: Environment) -> dict[str, Any]:
    hosts = [host.strip() for host in environment["WORKER_HOSTS"].split(",")]
    number = re.search(r"(\d+)$", environment.get("HOSTNAME", ""))
    index = environment.get("WORKER_INDEX") or environment.get("JOB_COMPLETION_INDEX")
    index = index or (number[1] if number else "")
    if not index.isdecimal() or int(index) >= len(hosts):
        raise UsageError(
            "this worker's place among WORKER_HOSTS must be in WORKER_INDEX, "
            "JOB_COMPLETION_INDEX or at the end of HOSTNAME, a number from 0 to "
            f"{len(hosts) - 1}, got {index!r}"
        )
    return config(hosts, int(index))


def _slurm(environment: Environment) -> dict[str, Any]:
    nodes = expand_nodes(environment["SLURM_STEP_NODELIST"])
    tasks = _tasks(environment["SLURM_STEP_TASKS_PER_NODE"])
    if len(nodes) != len(tasks):
        raise UsageError(
            "SLURM_STEP_TASKS_PER_NODE must be of the nodes in SLURM_STEP_NODELIST, "
            f"got {len(tasks)} and {len(nodes)}"
        )
    hosts = [
        f"{node}:{PORT + task}"
        for node, count in zip(nodes, tasks, strict=True)
        for task in range(count)
    ]
    return config(hosts, int(environment["SLURM_PROCID"]))


def _tasks(text: str) -> list[int]:
    """Reads Slurm's ``2(x3),1`` as 2, 2, 2, 1."""
    counts: list[int] = []
    for part in text.split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * int(times.rstrip(")") or 1)
    return counts


def expand_nodes(text: str) -> list[str]:
    """Reads Slurm's ``gpu[01-03,7],login`` as gpu01, gpu02, gpu03, gpu7, login."""
    nodes = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)?", text):
        head, _, rest = part.partition("[")
        if not rest:
            nodes.append(head)
            continue
        listed, _, tail = rest.partition("]")
        for span in listed.split(","):
            first, _, last = span.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            nodes += [f"{head}{n:0{len(first)}}{tail}" for n in numbers]
    return nodes
