"""The estimate for many GPUs, calculated by hand."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_two_machines_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from imagenet_estimate import Options, estimate

    options = Options(
        rate=100,
        batch=50,
        epochs=2,
        node=2,
        inside=4,
        between=1,
        inside_latency=100,
        between_latency=1000,
        core=20,
        start=10,
    )
    # 1 GB of gradients: two GPUs pass half of it twice, two machines half of a half.
    found = estimate(options, 4, weights=250_000_000, norms=20)
    assert found.compute == pytest.approx(0.5)
    assert found.gradients == pytest.approx(1 / 4 + 0.5 / 1)
    assert found.sums == pytest.approx(20 * 2 * 0.001)
    assert found.step == pytest.approx(1.29)
    assert found.efficiency == pytest.approx(0.5 / 1.29)
    assert found.epoch == pytest.approx(6406 * 1.29 + 50_000 / 4 / 300)
    assert found.total == pytest.approx(10 + 2 * found.epoch)
    assert found.cores == pytest.approx(2 * 50 / 1.29 / 20)

    one = estimate(options, 2, weights=250_000_000, norms=20)
    assert one.gradients == pytest.approx(1 / 4)
    assert one.sums == pytest.approx(20 * 2 * 0.0001)
    alone = estimate(options, 1, weights=250_000_000, norms=20)
    assert (alone.gradients, alone.sums, alone.efficiency) == (0, 0, 1)
