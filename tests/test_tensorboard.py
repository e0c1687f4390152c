"""What a run leaves for TensorBoard, read with TensorBoard's own reader."""

import csv
from pathlib import Path

import pytest
import tensorflow as tf
from conftest import TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from training.engine.callbacks.profiling import WARMUP, Profile
from training.engine.callbacks.run_files import History
from training.engine.progress import Progress
from training.experiment.train import train
from training.runs.run import Run


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), {"tensors": 0}).Reload()


def test_the_overview_has_images_graph_and_hyperparameters(run: Run) -> None:
    found = events(run.tensorboard)
    width, height, *images = found.Tensors("trained on")[0].tensor_proto.string_val
    assert (width, height) == (b"8", b"12") and len(images) == 16
    assert tf.io.decode_png(images[0]).shape == (12, 8, 3)
    names = {node.name for node in found.Graph().node}
    assert "images" in names
    assert any("stage1_block1" in name for name in names)
    tags = found.summary_metadata
    content = tags["_hparams_/session_start_info"].plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    assert values["model"].string_value == "resnet20_cifar"
    assert values["learning_rate"].number_value == run.recipe.learning_rate
    assert values["overrides"].string_value == "('depths=(1,1,1)',)"


def test_curves_are_the_columns_of_the_history(run: Run) -> None:
    with run.history.open(newline="") as file:
        columns = set(csv.DictReader(file).fieldnames or ())
    curves = {
        f"{prefix}{tag.removeprefix('epoch_')}"
        for part, prefix in (("train", ""), ("validation", "val_"))
        for tag in events(run.tensorboard / part).Tags()["tensors"]
    }
    assert curves == columns - {"epoch"}
    assert columns >= {"learning_rate", "images_per_second", "waiting", "memory_gib"}


def test_a_history_begun_by_an_older_version_goes_on(tmp_path: Path) -> None:
    progress = Progress([{"loss": 1.0}, {"loss": 0.5, "waiting": 0.1}])
    run = Run(tmp_path)
    History(run, progress).on_train_begin()
    assert run.history.read_text() == "epoch,loss,waiting\n0,1.0,\n1,0.5,0.1\n"


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "recorded"), [(2, 2), (50, 3)])
def test_a_profile_of_some_steps(
    steps: int, recorded: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run")
    batches = WARMUP + 3  # in two epochs
    recipe = dict(TINY.to_dict(), batch_size=60 // (batches // 2), epochs=2)
    train(type(TINY).from_dict(recipe), run, adapt=lambda _: [Profile(run, steps)])
    assert f"profile: {recorded} steps" in capsys.readouterr().out
    (profile,) = run.tensorboard.glob("plugins/profile/*/*.xplane.pb")
    assert b"train" in profile.read_bytes()


def test_a_run_of_few_steps_says_that_it_has_no_profile(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    Profile(run, 3).on_train_end()
    assert "profile: none in 0 steps; it starts after step 5" in capsys.readouterr().out
