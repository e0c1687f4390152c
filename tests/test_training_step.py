"""The benchmark of training steps, on the backends that it can measure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "training_step.py"


# Runs the benchmark on small sizes, and the work of all its processes in this one.
HERE = """
import io, sys
from contextlib import contextmanager, redirect_stdout
from functools import partial

import interleaved, keras_resnet, machine, training_step

class Worker:
    def __init__(self, lines):
        self.lines = iter(lines)
        self.send, self.receive = lambda _: None, lambda: next(self.lines)

@contextmanager
def start(script, key, contender, arguments):
    given, printed = (sys.argv, sys.stdin), io.StringIO()
    sys.argv = [script, "--worker", key, *map(str, arguments)]
    sys.stdin = io.StringIO("step\\n" * 3)
    with redirect_stdout(printed):
        assert interleaved.work(training_step.CONTENDERS)
    sys.argv, sys.stdin = given
    yield Worker(printed.getvalue().splitlines())

interleaved.start = start
machine.SIZES["cpu"] = machine.Size(8, 1, 1)
keras_resnet.create_model = partial(keras_resnet.create_model, depths=(1,))
training_step.main()
"""


@pytest.mark.slow
def test_a_backend_without_tensorflow_is_measured() -> None:
    options = "--networks resnet20_cifar --precisions float32 --rounds 1 --batch 4"
    result = subprocess.run(
        [sys.executable, "-c", HERE, *options.split()],
        cwd=SCRIPT.parent,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert ", jax " in result.stdout
    assert "training resnet20_cifar, 32×32, batch 4, float32: images/s" in result.stdout
    assert "residual-keras resnet20_cifar / resnet20_cifar with Keras' batch" in (
        result.stdout
    )
    assert "of a 3×3 convolution" in result.stdout


def test_what_a_contender_says_as_it_fails_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from interleaved import Candidate, measure

    broken = Candidate("broken", lambda precision, batch: lambda: None)
    with pytest.raises(RuntimeError, match=r"broken failed:\n.*can't open file"):
        measure("nowhere.py", {"broken": broken}, ("float32", 1), rounds=1)
