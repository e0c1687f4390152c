"""Whether data is what a run was trained on, wherever it is."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from data import sizes, write_classes
from test_findings import swap

from keras_resnet.errors import Stopped, UsageError
from training.data.identity import (
    absolute,
    location,
    require_location,
    resolved,
)
from training.data.reading import ReadOptions
from training.data.sources import load_dataset
from training.data.types import Dataset, pixels
from training.evaluate import Options, _load_data
from training.experiment import config
from training.experiment.data import (
    load_other_dataset,
    load_recipe_dataset,
    load_run_dataset,
)
from training.experiment.experiment import require_same_data
from training.recipes.recipe import Recipe
from training.runs.run import Run
from training.storage import filesystem

PREPARED = {"size": [8, 8], "channels": 3, "crop": 1.0, "mean": [0], "deviation": [1]}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_classes(tmp_path / "photos", "abc", count=10)
    return tmp_path / "photos"


def described(recipe: Recipe) -> dict[str, Any]:
    """What a run's config has of recipe and data."""
    data = load_recipe_dataset(recipe)
    dataset = {
        "place": absolute(recipe.dataset),
        "examples": sizes(data),
        "labels": list(data.labels),
        "digest": data.digest,
    }
    stored = {"recipe": recipe.to_dict(), "dataset": dataset, "preprocessing": PREPARED}
    return dict(json.loads(json.dumps(stored)))


@pytest.fixture
def trained(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The folder of a run, as far as its data is concerned."""
    monkeypatch.chdir(photos.parent)
    run = Run(photos.parent / "runs" / "photos")
    run.create(described(Recipe(dataset="folder:photos/", validation=0.1)))
    return run


@pytest.fixture
def bucket(photos: Path) -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    for path in photos.rglob("*.png"):
        memory.pipe_file(f"/same/{path.relative_to(photos)}", path.read_bytes())
    yield "memory://same"
    memory.rm("/same", recursive=True)


def test_a_digest_is_of_contents_and_labels_in_their_order(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", "ab", count=3)
    write_classes(tmp_path / "test", "ab", count=2)
    digest = load_dataset(f"folder:{tmp_path}").digest
    for split, count in {"train": 3, "test": 2}.items():
        files = [f"{tmp_path}/{split}/{c}/{i}.png" for c in "ab" for i in range(count)]
        images = [hashlib.sha256(Path(file).read_bytes()).digest() for file in files]
        labels = np.repeat([0, 1], count).astype("<i8").tobytes()
        expected = hashlib.sha256(labels + b"".join(images)).hexdigest()
        assert digest[split] == expected


def test_a_digest_of_pixels_is_of_their_shape_and_labels_too() -> None:
    made = [
        pixels(np.arange(12, dtype=np.uint8).reshape(shape), labels)
        for shape in ((2, 2, 3, 1), (2, 3, 2, 1))
        for labels in ([0, 1], [1, 0])
    ]
    assert len({split.digest for split in made}) == 4
    assert made[0].digest == made[0].take(np.array([0, 1])).digest
    assert made[0].digest != made[0].take(np.array([1, 0])).digest


@pytest.mark.slow
def test_a_digest_is_the_same_wherever_the_files_are(
    photos: Path, bucket: str, tmp_path: Path
) -> None:
    digest = load_dataset(f"folder:{photos}").digest
    shutil.copytree(photos, tmp_path / "copy")
    (tmp_path / "link").symlink_to(photos)
    for place in ("copy", "link"):
        assert load_dataset(f"folder:{tmp_path / place}").digest == digest
    for cache in ("none", "memory", "disk"):
        reading = ReadOptions(cache=cache)  # type: ignore[arg-type]
        for where in (photos, bucket):
            assert load_dataset(f"folder:{where}", reading=reading).digest == digest


@pytest.mark.slow
def test_data_that_changed_is_refused(trained: Run, photos: Path) -> None:
    assert load_run_dataset(trained).digest == trained.config["dataset"]["digest"]
    swap(photos / "a", photos / "b")
    with pytest.raises(UsageError, match="got others in train and test and "):
        load_run_dataset(trained)
    with pytest.raises(UsageError, match="the same images and labels of train"):
        now = described(trained.recipe)
        config.require_same(trained.config, now)


@pytest.mark.slow
def test_data_that_changed_is_evaluated_on_request(trained: Run, photos: Path) -> None:
    assert load_other_dataset(trained, "folder:photos")[1]
    before = sizes(load_run_dataset(trained))
    swap(photos / "a", photos / "b")
    data, own = load_other_dataset(trained, f"folder:{photos}")
    assert (sizes(data), own) == (before, False)


BAD = b"no image"


def files_of(data: Dataset, split: str) -> list[str]:
    origins = data.splits[split].origins
    assert origins is not None
    return [path.decode() for path in origins.numpy().tolist()]


def evaluated(run: Run, dataset: str | None = None) -> tuple[Dataset, bool]:
    options = Options(run.path, dataset=dataset, skip_bad_images=True)
    data, _, own = _load_data(run, options)
    return data, own


@pytest.mark.slow
def test_bad_files_beside_the_run_s_data_are_skipped(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0.txt", os.fsdecode(b"\xff.png")):
        (photos / "a" / name).write_bytes(BAD)
    with pytest.raises(UsageError, match="2 bad of 32"):
        load_run_dataset(trained)
    for place in (None, "folder:photos"):
        data, own = evaluated(trained, place)
        assert own and data.digest == trained.config["dataset"]["digest"]
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param([], marks=pytest.mark.slow),
        pytest.param(["a/new.png"], marks=pytest.mark.slow),
        ["a/0.png"],
    ],
)
def test_changed_data_is_not_passed_over_with_bad_files(
    bad: list[str], trained: Run, photos: Path
) -> None:
    swap(photos / "a", photos / "b")
    for name in bad:
        (photos / name).write_bytes(BAD)
    with pytest.raises(UsageError, match=r"folder:.*photos must be the data that"):
        evaluated(trained)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["test", "train"])
def test_a_file_that_went_bad_leaves_the_others_in_their_splits(
    split: str, trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = load_run_dataset(trained)
    bad = files_of(whole, split)[0]
    Path(bad).write_bytes(BAD)
    for place in (None, "folder:photos"):
        data, own = evaluated(trained, place)
        assert not own
        for name in whole.splits:
            expected = [Path(f) for f in files_of(whole, name) if f != bad]
            found = [Path(file).resolve() for file in files_of(data, name)]
            assert found == expected
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and said.startswith("warning: folder:")
        assert f"differs from the data of {trained.path} (skipped 1 bad files" in said
        assert f"the rest of {split} cannot be compared" in said


@pytest.mark.slow
def test_data_of_which_no_split_is_whole_is_not_known(trained: Run) -> None:
    whole = load_run_dataset(trained)
    for split in whole.splits:
        Path(files_of(whole, split)[0]).write_bytes(BAD)
    with pytest.raises(UsageError, match="must be the data that"):
        evaluated(trained)
    data, own = evaluated(trained, "folder:photos")  # as it is asked for by name
    assert not own and sum(sizes(data).values()) == 27


@pytest.mark.slow
def test_other_data_is_reported(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos, "copy")
    assert evaluated(trained, "folder:copy")[1]
    assert not capsys.readouterr().err
    write_classes(Path("others"), "abc", count=4)
    for skip in (True, False):
        options = Options(trained.path, dataset="folder:others", skip_bad_images=skip)
        _, _, own = _load_data(trained, options)
        assert not own
        said = capsys.readouterr().err
        assert said == (
            f"warning: folder:others differs from the data of {trained.path}: nothing "
            "is written to the run\n"
        )


def test_another_data_set_is_for_testing_as_a_whole(trained: Run) -> None:
    write_classes(Path("others"), "cab", count=4)
    data, own = load_other_dataset(trained, "folder:others")
    assert (sizes(data), own) == ({"test": 12}, False)


@pytest.mark.slow
def test_data_that_was_moved_is_known_by_its_contents(
    trained: Run, photos: Path, bucket: str
) -> None:
    shutil.move(photos, photos.with_name("moved"))
    with pytest.raises(UsageError, match=r"got no 'folder:photos/'; .* --dataset"):
        load_run_dataset(trained)
    for place in ("folder:moved/", f"folder:{bucket}"):
        assert load_run_dataset(trained, place).name == place
        data, own = load_other_dataset(trained, place)
        assert own and sizes(data) == trained.config["dataset"]["examples"]
        config.require_same(
            trained.config, described(replace(trained.recipe, dataset=place))
        )


@pytest.mark.slow
def test_data_is_found_from_elsewhere(
    trained: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_run_dataset(trained).name == f"folder:{photos}"
    shutil.move(photos, "photos")  # with the rest of a project
    assert load_run_dataset(trained).name == "folder:photos/"


@pytest.mark.slow
def test_a_run_of_before_digests_is_read_and_resumed_in_its_place(
    trained: Run, photos: Path
) -> None:
    stored = trained.config
    for name in ("digest", "place"):
        del stored["dataset"][name]
    trained.create(stored)
    assert load_other_dataset(trained, "folder:./photos")[1]
    load_run_dataset(trained)
    now = described(replace(trained.recipe, dataset="folder:photos"))
    config.require_same(trained.config, now)
    shutil.copytree(photos, "moved")
    with pytest.raises(UsageError, match=r"with the same dataset, .*photos.*moved"):
        config.require_same(
            stored, described(replace(trained.recipe, dataset="folder:moved"))
        )
    assert not load_other_dataset(trained, "folder:moved")[1]


def test_places_are_compared_as_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    names = ("data/", "./data", "link", f"{tmp_path}/data", f"file://{tmp_path}/data")
    for name in names:
        assert resolved(f"folder:{name}") == resolved("folder:data")
    assert resolved("folder:gs://a/b") == resolved("folder:gs://a/b/")
    for other in ("folder:gs://data", "idx:data", "folder:data2", "digits"):
        assert resolved(other) != resolved("folder:data")
    assert absolute("digits") == "digits"
    assert absolute("tfds:cifar10") == "tfds:cifar10"


def test_a_data_set_in_one_file_has_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a kind that is still to come."""
    (tmp_path / "data.npz").touch()
    (tmp_path / "cifar10").touch()
    monkeypatch.chdir(tmp_path)
    place = f"npz:{tmp_path}/data.npz"
    assert absolute("npz:data.npz") == place
    assert absolute("tfds:cifar10") == "tfds:cifar10", "a name, not this file"
    monkeypatch.chdir("/")
    assert location("npz:data.npz", {"place": place}) == place
    (tmp_path / "data.npz").unlink()
    assert location("npz:data.npz", {"place": place}) == "npz:data.npz"
    with pytest.raises(UsageError, match=r"got no 'npz:.*data.npz'"):
        require_location("npz:data.npz", {"place": place}, tmp_path)


CHANGED = {
    "gone": (None, "No such file or directory"),
    "cut": (b"\x89PNG", "its contents have changed"),
    "replaced": ("a/0.png", "its contents have changed"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, when", [("gone", "train"), ("cut", "test"), ("replaced", "train")]
)
def test_a_file_that_changes_under_a_run_is_named(
    change: str, when: str, photos: Path, tmp_path: Path
) -> None:
    import keras

    from training.engine.step import TrainingStep
    from training.experiment.train import train

    recipe = Recipe(
        model="resnet20_cifar",
        overrides=("depths=(1,)",),
        dataset=f"folder:{photos}",
        epochs=2,
        batch_size=8,
        image_size=8,
    )
    origins = load_recipe_dataset(recipe).splits[when].origins
    assert origins is not None
    file = Path(origins[1].numpy().decode())
    original = file.read_bytes()
    contents, reason = CHANGED[change]

    class Vandal(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            if contents is None:
                file.unlink()
            elif isinstance(contents, bytes):
                file.write_bytes(contents)
            else:
                file.write_bytes((photos / contents).read_bytes())

    def adapt(training_step: TrainingStep) -> list[keras.callbacks.Callback]:
        return [Vandal()]

    run = Run(tmp_path / "run")
    with pytest.raises(Stopped) as caught:
        train(recipe, run, adapt=adapt)
    assert f"got {file}: {reason}; restore it" in str(caught.value)
    assert len(run.epochs) >= 1
    if change == "gone":
        file.write_bytes(original)
        train(recipe, run)
        assert run.complete


class Worker:
    """One of two workers, of which the first has the given row or the same."""

    workers = 2

    def __init__(self, first: np.ndarray | None = None) -> None:
        self.first = first

    def gather(self, row: np.ndarray) -> np.ndarray:
        self.row = row
        return np.stack([row if self.first is None else self.first, row])


def test_a_worker_that_failed_to_read_a_file_once_has_other_data(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The skipped file shifts the order of all others on this worker only."""
    reading = ReadOptions(skip_bad_images=True)
    data = load_dataset(f"folder:{photos}", reading=reading)
    with monkeypatch.context() as patch:
        patch.setenv("KERAS_RESNET_CACHE", str(photos.parent / "another machine"))
        read, lost = filesystem.read, str(photos / "a" / "0.png")

        def failing(place: str) -> bytes:
            if place == lost:
                raise OSError(errno.EIO, "Input/output error", place)
            return read(place)

        patch.setattr(filesystem, "read", failing)
        shifted = load_dataset(f"folder:{photos}", reading=reading)
    assert shifted.notes[0] == "skipped 1 bad files of 30"
    order = [files_of(d, "train") for d in (data, shifted)]
    assert order[0][5] != order[1][5]
    chief = Worker()
    require_same_data(chief, data)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"different train .* on worker 1 than"):
        require_same_data(Worker(chief.row), shifted)  # type: ignore[arg-type]
