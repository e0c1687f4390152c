"""The image for training fits setup.py, and the samples that use it fit the image."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
BUILDS = ("cpu", "gpu")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def setup() -> dict[str, Any]:
    """What setup.py gives to setuptools."""
    given: dict[str, Any] = {}
    code = (ROOT / "setup.py").read_text().replace("\nsetup(", "\ngiven.update(")
    exec(code, {"given": given, "__file__": str(ROOT / "setup.py")})
    return given


def pinned() -> dict[str, str]:
    lines = (DEPLOY / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    found = {canonicalize_name(name): version for name, version in pairs}
    assert len(found) == len(pairs)
    return found


def extras() -> list[str]:
    """The extras that the image installs, with the argument as it stands."""
    (listed,) = re.findall(r'"\$1\[(.*)\]"', DOCKERFILE)
    return listed.split(",")


def test_every_extra_exists(setup: dict[str, Any]) -> None:
    assert extras() == ["sweep", "export", "${BUILD}"]
    assert {"sweep", "export", *BUILDS} <= setup["extras_require"].keys()
    assert re.findall(r"^ARG BUILD=(\w+)", DOCKERFILE, re.M) == ["cpu"]
    assert set(re.findall(r"--build-arg BUILD=(\w+)", DOCKERFILE)) == set(BUILDS)


def test_every_version_is_pinned_within_its_range(setup: dict[str, Any]) -> None:
    listed = [*setup["install_requires"]]
    for extra in ("sweep", "export", *BUILDS):
        listed += setup["extras_require"][extra]
    required = [Requirement(line) for line in listed]
    found = pinned()
    assert {canonicalize_name(need.name) for need in required} == found.keys()
    for need in required:
        assert need.specifier.contains(found[canonicalize_name(need.name)]), need


def test_the_python_of_the_image_is_supported(setup: dict[str, Any]) -> None:
    (version,) = re.findall(r"^ARG PYTHON=python:([\d.]+)-slim", DOCKERFILE, re.M)
    assert Requirement(f"x{setup['python_requires']}").specifier.contains(version)
    assert version.count(".") == 2, "the patch version too"


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.M)
    names = " ".join(copied).split()
    assert {f"!{name}" for name in names} == {x for x in sent if x.startswith("!")}
    assert all((ROOT / name).exists() for name in names)


def test_the_user_has_no_privileges() -> None:
    (user,) = re.findall(r"^USER (.*)", DOCKERFILE, re.M)
    assert f"useradd --uid {user} " in DOCKERFILE
    _, job = yaml.safe_load_all((DEPLOY / "train.yaml").read_text())
    assert job["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(user)


def test_the_jobs_workers_find_each_other() -> None:
    service, job = yaml.safe_load_all((DEPLOY / "train.yaml").read_text())
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    (container,) = pod["containers"]
    (variable,) = container["env"]
    hosts = variable["value"].split(",")
    count = job["spec"]["completions"]
    assert job["spec"]["parallelism"] == count
    assert hosts == [f"{name}-{i}.{pod['subdomain']}:12355" for i in range(count)]
    assert container["image"].endswith(f"residual-keras:{BUILDS[0]}")


@pytest.mark.parametrize("sample", ["train.yaml", "train.sbatch"])
def test_the_samples_train(sample: str) -> None:
    from keras_resnet.command import parse
    from training.fit import Options

    text = (DEPLOY / sample).read_text().replace("\\\n", " ")
    line = re.search(r"python -m training\.fit((?:.|\n +)*?)\$", text)
    assert line
    options = parse(Options, shlex.split(line[1]))
    assert str(options.out) == "/shared/runs/photos"
