"""Saves the training state in checkpoints, and verifies them before restoring one.

A checkpoint is a folder named after its position, ``EPOCH-STEP``. It is written under
another name and renamed once all of it is on the disk. ``SHA256SUMS``, in the format
of the program ``sha256sum``, shows whether its files are still as they were written.
"""

import hashlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnet.errors import UsageError
from training.distributed.replicas import Replicas
from training.engine.progress import Progress
from training.engine.saving import CheckpointOptions
from training.storage.writing import flush

DRAFT = "draft-"  # prefix of folders that are not, or no longer, checkpoints
STATE, PROGRESS, SUMS = "state.npz", "progress.json", "SHA256SUMS"


class Checkpoints:
    """Saves and restores everything that the rest of a run depends on.

    This is the exact state of weights, statistics, optimizer and seed generators, and
    the run's position. One worker writes; all workers hold the same state.

    Args:
        folder: Folder of the checkpoints.
        variables: The variables to save, by owner, ``"model"`` and ``"optimizer"``. The
            owners are part of the variables' names in the file.
        replicas: The devices and workers that hold the model; None: one device.
        saving: When to save, and how many checkpoints to keep.

    Attributes:
        progress: The run's position.
        saving: When to save, and how many checkpoints to keep.
    """

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, Sequence[keras.Variable]],
        *,
        replicas: Replicas | None = None,
        saving: CheckpointOptions | None = None,
    ) -> None:
        self.progress = Progress()
        self._folder = folder
        self.saving = saving or CheckpointOptions()
        self._replicas = replicas or Replicas()
        # Variables are listed because Keras' own tracking omits seed generators. Keys
        # are index and name because Keras numbers the layer names in ``path``.
        self._variables: dict[str, Any] = {
            f"{owner}/{i}:{v.name}": v
            for owner, owned in variables.items()
            for i, v in enumerate(owned)
        }

    def save(self) -> None:
        """Saves the state as the newest checkpoint, on the chief only."""
        if not self._replicas.chief:
            return
        place = self._folder / f"{self.progress.epoch:06}-{self.progress.step:08}"
        if place.is_dir():  # a position has only one state
            return
        draft = self._folder / f"{DRAFT}{place.name}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        held = self._replicas.locals
        state = {
            name: ops.convert_to_numpy(held(v.value)[0])
            for name, v in self._variables.items()
        }
        with (draft / STATE).open("wb") as file:
            np.savez(file, **state)
        (draft / PROGRESS).write_text(self.progress.to_json(), "utf-8")
        sums = "".join(f"{_sum(draft / n)}  {n}\n" for n in (STATE, PROGRESS))
        (draft / SUMS).write_text(sums, "utf-8")
        for path in (*draft.iterdir(), draft):
            flush(path)
        draft.rename(place)
        flush(self._folder)
        for old in self._places()[: -self.saving.keep]:
            self._remove(old)

    def restore(self) -> bool:
        """Restores the newest intact checkpoint and returns whether there is one.

        Raises:
            UsageError: All are damaged, or the newest intact one is of another model.
        """
        place = self._newest_intact() if self._replicas.chief else None
        # All workers start from the position that the chief found.
        found = [int(n) for n in place.name.split("-")] if place else [-1, -1]
        epoch, step = self._replicas.from_chief(found)
        if epoch < 0:
            return False
        self._read(self._folder / f"{epoch:06}-{step:08}")
        return True

    def _newest_intact(self) -> Path | None:
        """Returns the newest intact checkpoint; removes drafts and damaged ones."""
        for draft in self._folder.glob(f"{DRAFT}*"):
            shutil.rmtree(draft)
        places = self._places()
        damaged: list[Path] = []
        for place in reversed(places):
            fault = _find_damage(place)
            if fault is None:
                for bad in damaged:
                    self._remove(bad)
                return place
            damaged.append(place)
            print(
                f"warning: checkpoint {place} is damaged ({fault}); using the previous "
                "one",
                file=sys.stderr,
            )
        if places:
            raise UsageError(
                f"a run must have an intact checkpoint to resume from, got none among "
                f"the {len(places)} in {self._folder}; train into another folder"
            )
        return None

    def _read(self, place: Path) -> None:
        with np.load(place / STATE) as state:
            stored = {name: state[name].shape for name in state.files}
            expected = {name: tuple(v.shape) for name, v in self._variables.items()}
            if stored != expected:
                raise UsageError(
                    f"the checkpoint must hold the state of this model and optimizer "
                    f"({len(expected)} variables), got {len(stored)} other variables "
                    f"in {place}; resume with the version that saved it"
                )
            for name, variable in self._variables.items():
                variable.assign(state[name])
        text = (place / PROGRESS).read_text("utf-8")
        self.progress.replace(Progress.from_json(text))

    def _places(self) -> list[Path]:
        """Returns the checkpoints, oldest first."""
        return sorted(self._folder.glob("[0-9]*-[0-9]*"))

    def _remove(self, place: Path) -> None:
        # A partly removed folder must not look like a checkpoint.
        gone = place.rename(self._folder / f"{DRAFT}{place.name}")
        shutil.rmtree(gone)


def _find_damage(place: Path) -> str | None:
    """Returns what is wrong with a checkpoint; None if it is intact."""
    try:
        lines = (place / SUMS).read_text("utf-8").splitlines()
        sums = {name: sum_ for sum_, name in (line.split("  ") for line in lines)}
        for name in (STATE, PROGRESS):
            if sums[name] != _sum(place / name):
                return f"{name} does not match {SUMS}"
    except (FileNotFoundError, ValueError, KeyError) as error:
        missing = getattr(error, "filename", None)
        return f"{Path(missing).name} is missing" if missing else f"{SUMS} is damaged"
    return None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
