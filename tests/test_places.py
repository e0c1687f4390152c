"""Data behind URLs, in fsspec's file system in memory."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from data import labels_of, noise, sizes, write_classes, write_image
from test_cache import home, photos, trained_on  # noqa: F401 - fixtures
from test_idx import IDX

from keras_resnet.errors import UsageError
from training.data.reading import Cache, ReadOptions
from training.data.sources import load_dataset
from training.experiment.train import train
from training.recipes.recipe import Recipe
from training.runs.run import Run
from training.storage import filesystem


@pytest.fixture
def bucket(photos: Path) -> Iterator[str]:  # noqa: F811
    """A bucket with the files of ``photos``."""
    (photos / "a" / "deep").mkdir()
    write_image(photos / "a" / "deep" / "0.png", noise(9, 9, 3))
    (photos / "a" / ".hidden").write_bytes(b"no image")
    memory = fsspec.filesystem("memory")
    for path in photos.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/bucket/{path.relative_to(photos)}", path.read_bytes())
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


CACHES: dict[Cache, tuple[str, str]] = {
    "none": ("", "remote"),
    "memory": ("/", "bytes"),
    "disk": ("", "files"),
}


@pytest.mark.slow
def test_folder_behind_a_url_is_the_folder(
    bucket: str,
    photos: Path,  # noqa: F811
    home: Path,  # noqa: F811
) -> None:
    here = load_dataset(f"folder:{photos}")
    expected = trained_on(here)
    for cache, (slash, kind) in CACHES.items():
        options = ReadOptions(cache=cache)
        there = load_dataset(f"folder:{bucket}{slash}", reading=options)
        assert there.splits["train"].kind == kind
        assert there.labels == here.labels
        assert sizes(there) == sizes(here)
        assert labels_of(there, "train") == labels_of(here, "train")
        assert trained_on(there) == expected, cache
        assert there.splits["test"].encoded(1) == here.splits["test"].encoded(1)


def test_originals_of_decoded_images_are_copied_from_a_url(
    bucket: str,
    home: Path,  # noqa: F811
) -> None:
    dataset = load_dataset(f"folder:{bucket}", reading=ReadOptions(cache="decoded"))
    assert {split.kind for split in dataset.splits.values()} == {"files"}


def test_splits_behind_a_url(bucket: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.mv("/bucket/a", "/bucket/train/a", recursive=True)
    memory.mv("/bucket/b", "/bucket/train/b", recursive=True)
    memory.cp("/bucket/train", "/bucket/test", recursive=True)
    assert sizes(load_dataset(f"folder:{bucket}")) == {"train": 14, "test": 14}


def test_bad_file_behind_a_url_is_named(bucket: str) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/b/bad.jpg", b"<html>")
    with pytest.raises(UsageError, match=rf"got {bucket}/b/bad\.jpg: not an image"):
        load_dataset(f"folder:{bucket}")


def test_idx_behind_a_url() -> None:
    memory = fsspec.filesystem("memory")
    for name, data in IDX.items():
        memory.pipe_file(f"/fashion/{name}", data)
    dataset = load_dataset("idx:memory://fashion/")
    assert sizes(dataset) == {"train": 6, "test": 3}
    assert dataset.mirrors
    memory.rm("/fashion", recursive=True)


@pytest.mark.parametrize("kind", ["folder", "idx"])
@pytest.mark.parametrize(
    "url, message",
    [
        ("memory://nowhere", "folder must exist, got 'memory://nowhere'"),
        ("nosuch://bucket", "scheme that fsspec knows, got nosuch://"),
        ("file:///no/such", "folder must exist, got 'file:///no/such'"),
        ("abfs://bucket", "the client for abfs:// must be installed, got .*adlfs"),
    ],
)
def test_place_that_cannot_be_read_is_reported(
    kind: str, url: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset(f"{kind}:{url}")
    assert "\n" not in str(caught.value)


def test_a_client_that_finds_no_account_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(scheme: str) -> None:
        raise RuntimeError(f"no credentials\nfor {scheme}")

    monkeypatch.setattr(fsspec, "filesystem", refuse)
    with pytest.raises(
        UsageError, match=r"^access to gone:// must be set up on this machine, got no"
    ):
        filesystem.filesystem("gone://bucket")


def test_local_urls_are_paths(tmp_path: Path) -> None:
    write_classes(tmp_path, count=5)
    dataset = load_dataset(f"folder:file://{tmp_path}")
    assert dataset.splits["train"].kind == "files"
    assert filesystem.read(f"file://{tmp_path}/a/0.png")[1:4] == b"PNG"


def test_errors_of_clients_become_one_kind() -> None:
    with pytest.raises(OSError, match="a client's own"), filesystem.os_errors():
        raise ValueError("a client's\nown")
    assert (
        filesystem.reason(FileNotFoundError(2, "No such file", "x")) == "No such file"
    )
    assert filesystem.reason(KeyError()) == "KeyError"


@pytest.mark.slow
def test_run_is_trained_from_a_url(bucket: str, tmp_path: Path) -> None:
    recipe = Recipe(
        overrides=("depths=(1,1,1)",),
        dataset=f"folder:{bucket}",
        epochs=1,
        image_size=8,
        batch_size=4,
    )
    run = Run(tmp_path / "run")
    train(recipe, run)
    assert run.complete
    assert np.isfinite(run.evaluated["loss"])
