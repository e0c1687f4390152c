"""Evaluation: every example once, whatever the batches; other data must fit."""

import keras
import numpy as np
import pytest

from keras_resnet.errors import UsageError
from training.datasets import Dataset, pixels
from training.evaluate import evaluate, evaluate_run
from training.metrics import Evaluator
from training.preprocessing import Preprocessing
from training.runs import Run


def dataset(count: int, classes: int) -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 4, 4, 2), np.uint8)
    split = pixels(images, rng.integers(0, classes, count))
    names = tuple(str(i) for i in range(classes))
    return Dataset("made", {"test": split}, names, 2, (4, 4), mirrors=False)


@pytest.mark.parametrize("count", [1, 255, 256, 600])
def test_figures_equal_numpys_over_all_examples(count: int) -> None:
    data = dataset(count, classes=8)
    image = keras.Input((4, 4, 2))
    logits = keras.layers.Dense(8)(keras.layers.Flatten()(image))
    model = keras.Model(image, logits)
    prepared = Preprocessing((4, 4), 2, 1.0, (100.0, 120.0), (50.0, 60.0))
    found = evaluate(Evaluator(model, prepared), data, prepared, "test")

    split = data.splits["test"]
    inputs = (split.images.numpy() - [100.0, 120.0]) / [50.0, 60.0]
    values = inputs.reshape(count, -1) @ model.layers[-1].kernel.numpy()
    labels = split.labels.numpy()
    own = values[np.arange(count), labels]
    rank = (values > own[:, np.newaxis]).sum(-1)
    log_sum = np.log(np.exp(values - values.max(-1, keepdims=True)).sum(-1))
    loss = log_sum + values.max(-1) - own
    assert found["examples"] == count
    assert found["top1"] == pytest.approx((rank < 1).mean())
    assert found["top5"] == pytest.approx((rank < 5).mean())
    assert found["loss"] == pytest.approx(loss.mean(), rel=1e-4)


def test_another_data_set_must_have_the_same_classes_and_channels(run: Run) -> None:
    with pytest.raises(UsageError, match=r"must be the run's, 3 classes.*got 4"):
        evaluate_run(run, dataset="synthetic:12x8x3:4:40")
    with pytest.raises(UsageError, match="must have the run's 3 channels, got 1"):
        evaluate_run(run, dataset="synthetic:12x8x1:3:40")
    with pytest.raises(UsageError, match="split must be one of train, test"):
        evaluate_run(run, split="val")


def test_another_data_set_of_another_size_is_resized(run: Run) -> None:
    before = run.evaluated
    assert evaluate_run(run, dataset="synthetic:30x20x3:3:40")["examples"] == 8
    assert run.evaluated == before
