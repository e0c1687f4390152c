"""The distribution: its wheel in an environment of its own, and its extras."""

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from keras_resnet import command

ROOT = Path(__file__).parents[1]
NAME = "residual-keras"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the source archive, built from a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {
        "wheel": next(folder.glob("*.whl")),
        "sdist": next(folder.glob("*.tar.gz")),
    }


@pytest.mark.slow
def test_distributions_are_well_formed(distributions: dict[str, Path]) -> None:
    files = [str(path) for path in distributions.values()]
    line = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(distributions["wheel"]) as wheel:
        names = wheel.namelist()
        path = next(n for n in names if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(path))
    assert metadata["Name"] == NAME
    extras = set(metadata.get_all("Provides-Extra"))
    assert set(",".join(command.EXTRAS.values()).split(",")) <= extras
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"keras_resnet", "training", "export"}
    for file in ("training/reports/report.html.j2", "export/runtimes/classify.c"):
        assert file in names
    base = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    assert sorted(r.split(">")[0].split("<")[0] for r in base) == [
        *("keras", "numpy", "tyro"),
    ]


@pytest.fixture(scope="module")
def python(
    distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An interpreter that finds the wheel's packages, and this one's for the rest."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    line = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*line, distributions["wheel"]], check=True)
    here = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    import keras

    others = Path(keras.__file__).parents[1]
    Path(here.stdout.strip(), "others.pth").write_text(f"{others}\n", "utf-8")
    return python


# What `python -m` does, for one command after the other.
COMMANDS = """
import runpy, sys
for line in (
    "training.fit --overrides depths=1,1,1 --epochs 1 --out run",
    "export.tflite run --out model.tflite",
    "training.report run",
):
    sys.argv = line.split()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_wheel_trains_and_exports_outside_the_clone(
    python: Path, tmp_path: Path
) -> None:
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [python, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = run("-c", "import training; print(training.__file__)")
    assert Path(place.strip()).is_relative_to(python.parents[1])
    assert "resnet50" in run("-m", "keras_resnet", "list", "resnet5*").split()
    assert "top-1" in run("-c", COMMANDS)
    assert (tmp_path / "model.tflite").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_missing_packages_are_told_by_their_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['keras_tuner'] = None\n"
        "sys.argv = ['sweep', '--out', 'x', '--space', 'width=4,8']\n"
        "from training import sweep\n"
        "sweep.command.run(sweep.main)\n"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("pip install 'residual-keras[sweep]'\n")
    assert len(done.stderr.splitlines()) == 1
