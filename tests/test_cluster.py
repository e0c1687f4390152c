"""From an environment's variables to TF_CONFIG."""

import json
import math

import pytest

from keras_resnet.errors import UsageError
from training.distributed.cluster import (
    addresses_and_index,
    config,
    expand_nodes,
    is_chief,
    tf_config,
)

TWO = config(["a:1", "b:1"], 1)
CHIEF = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}}
HOSTS = {"WORKER_HOSTS": "train-0.train:2222, train-1.train:2222"}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NODELIST": "gpu[08-09],login1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_PROCID": "3",
}


def test_the_chief_is_the_first_of_the_workers() -> None:
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    for index, (kind, place) in enumerate([("chief", 0), ("worker", 0), ("worker", 1)]):
        configured = {"cluster": cluster, "task": {"type": kind, "index": place}}
        assert addresses_and_index(configured) == (["a:1", "b:1", "c:1"], index)
    assert addresses_and_index(TWO) == (["a:1", "b:1"], 1)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": json.dumps(config(["a:1"], 0))},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # no srun
        {"SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_STEP_NUM_TASKS": "", "WORKER_HOSTS": ""},
    ],
)
def test_a_process_on_its_own(environment: dict[str, str]) -> None:
    assert tf_config(environment) is None
    assert is_chief(None)


def test_tf_config_goes_first() -> None:
    assert tf_config(SLURM | HOSTS | {"TF_CONFIG": json.dumps(TWO)}) == TWO
    text = json.dumps(TWO).replace('"index": 1', '"index": "1"')
    assert tf_config({"TF_CONFIG": text}) == TWO


@pytest.mark.parametrize(
    "place",
    [
        {"WORKER_INDEX": "1", "HOSTNAME": "x-0"},
        {"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "train-1-x7k2p"},
        {"HOSTNAME": "train-1"},
    ],
)
def test_kubernetes(place: dict[str, str]) -> None:
    expected = config(["train-0.train:2222", "train-1.train:2222"], 1)
    assert tf_config(HOSTS | place) == expected


def test_slurm() -> None:
    hosts = ["gpu08:12355", "gpu08:12356", "gpu09:12355", "gpu09:12356", "login1:12355"]
    assert tf_config(SLURM) == config(hosts, 3)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("n1", ["n1"]),
        ("n1,m2", ["n1", "m2"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[09-10,12]-ib,m", ["n09-ib", "n10-ib", "n12-ib", "m"]),
    ],
)
def test_slurms_lists_of_nodes(text: str, nodes: list[str]) -> None:
    assert expand_nodes(text) == nodes


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG must be JSON like"),
        ({"TF_CONFIG": json.dumps(config(["a:1"], 1))}, "TF_CONFIG must be JSON like"),
        (HOSTS, "WORKER_INDEX, .* from 0 to 1, got ''"),
        (HOSTS | {"WORKER_INDEX": "2"}, "from 0 to 1, got '2'"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2"}, "got 1 counts for 3 nodes"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2,1,1"}, "the tasks on each"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1(x9999999999)"}, "start with srun"),
        (SLURM | {"SLURM_STEP_NODELIST": "n[0-9999999999]"}, "start with srun"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "many"}, "SLURM_STEP_NUM_TASKS='many'"),
        (SLURM | {"SLURM_PROCID": ""}, "SLURM_PROCID=''"),
        (SLURM | {"SLURM_PROCID": "5"}, "SLURM_PROCID='5'"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_PROCID=None"),
        ({"WORKER_HOSTS": "a:1,,b"}, "must be a list host:port,host:port, got 'a:1,,b"),
        ({"TF_CONFIG": "null"}, "TF_CONFIG must be JSON like"),
        ({"TF_CONFIG": "[" * 100_000}, "TF_CONFIG must be JSON like"),
        ({"TF_CONFIG": json.dumps(config(["a:1", "b:1"], math.inf))}, "must be JSON"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_cluster_is_refused(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tf_config(environment)


@pytest.mark.parametrize(
    ("configured", "chief"),
    [
        (config(["a:1", "b:1"], 0), True),
        (TWO, False),
        (CHIEF | {"task": {"type": "chief", "index": 0}}, True),
        (CHIEF | {"task": {"type": "worker", "index": 0}}, False),
    ],
)
def test_one_is_chief(configured: dict[str, object], chief: bool) -> None:
    assert is_chief(configured) == chief
