"""The training state on disk: complete or invisible, and checked before it is used.

A checkpoint is a folder named by its position, ``EPOCH-STEP``. It is written under
another name and renamed when all of it is on the disk. ``SHA256SUMS``, in the format
of the program ``sha256sum``, tells whether it still is what was written.
"""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import UsageError
from training.distributed.replicas import Replicas
from training.engine.progress import Progress
from training.engine.saving import CheckpointOptions
from training.storage.writing import flush

DRAFT = "draft-"  # folders that are not, or no longer, checkpoints
STATE, PROGRESS, SUMS = "state.npz", "progress.json", "SHA256SUMS"


class Checkpoints:
    """Saves and restores all that a run's future depends on.

    Weights, statistics, optimizer and seed generators to the bit, and the run's
    position. One worker writes; all hold the same state.

    Args:
        folder: Where the checkpoints are kept.
        model: The network.
        optimizer: Built for the network's trainable variables.
        replicas: Who holds the network.
        saving: When to save, and how many checkpoints stay.

    Attributes:
        progress: Where the run stands.
        saving: When to save.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        replicas: Replicas | None = None,
        saving: CheckpointOptions | None = None,
    ) -> None:
        self.progress = Progress()
        self._folder = folder
        self.saving = saving or CheckpointOptions()
        self._replicas = replicas or Replicas()
        # By variable, since seed generators are no part of Keras' own tracking; and by
        # place and name, since Keras counts up the names of layers (``path``).
        self._variables: dict[str, Any] = {
            f"{kind}/{i}:{v.name}": v
            for kind, owner in (("model", model), ("optimizer", optimizer))
            for i, v in enumerate(owner.variables)
        }

    def save(self) -> None:
        """Saves the state as the newest checkpoint, where this worker is to."""
        if not self._replicas.chief:
            return
        place = self._folder / f"{self.progress.epoch:06}-{self.progress.step:08}"
        if place.is_dir():  # a position has one state
            return
        draft = self._folder / f"{DRAFT}{place.name}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        held = self._replicas.locals
        state = {n: held(v.value)[0].numpy() for n, v in self._variables.items()}
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
        """Restores the newest checkpoint that is whole; returns whether there is one.

        Raises:
            UsageError: All are damaged, or of another network.
        """
        place = self._newest_whole() if self._replicas.chief else None
        # Its position is told to all, so that all start from the same.
        named = [int(n) for n in place.name.split("-")] if place else [-1, -1]
        epoch, step = self._replicas.from_chief(named)
        if epoch < 0:
            return False
        self._read(self._folder / f"{epoch:06}-{step:08}")
        return True

    def _newest_whole(self) -> Path | None:
        """Finds the checkpoint to use, and clears away what is none."""
        for draft in self._folder.glob(f"{DRAFT}*"):
            shutil.rmtree(draft)
        places = self._places()
        damaged: list[Path] = []
        for place in reversed(places):
            fault = _fault(place)
            if fault is None:
                for bad in damaged:
                    self._remove(bad)
                return place
            damaged.append(place)
            print(
                f"warning: checkpoint {place} is damaged ({fault}), using the one "
                "before it",
                file=sys.stderr,
            )
        if places:
            raise UsageError(
                f"a run must have a whole checkpoint to be resumed from, got none of "
                f"{len(places)} in {self._folder}; train into another folder"
            )
        return None

    def _read(self, place: Path) -> None:
        with np.load(place / STATE) as state:
            kept = {name: state[name].shape for name in state.files}
            own = {name: tuple(v.shape) for name, v in self._variables.items()}
            if kept != own:
                raise UsageError(
                    f"checkpoint must hold the state of this network and optimizer, "
                    f"{len(own)} variables; got {len(kept)} others "
                    f"in {place}; resume with the version that saved it"
                )
            for name, variable in self._variables.items():
                variable.assign(state[name])
        text = (place / PROGRESS).read_text("utf-8")
        self.progress.replace(Progress.from_json(text))

    def _places(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self._folder.glob("[0-9]*-[0-9]*"))

    def _remove(self, place: Path) -> None:
        # A folder half removed must not look like a checkpoint.
        gone = place.rename(self._folder / f"{DRAFT}{place.name}")
        shutil.rmtree(gone)


def _fault(place: Path) -> str | None:
    """Says what is wrong with a checkpoint, None for nothing."""
    try:
        lines = (place / SUMS).read_text("utf-8").splitlines()
        sums = {name: sum_ for sum_, name in (line.split("  ") for line in lines)}
        for name in (STATE, PROGRESS):
            if sums[name] != _sum(place / name):
                return f"{name} is not what was saved"
    except (FileNotFoundError, ValueError, KeyError) as error:
        missing = getattr(error, "filename", None)
        return f"{Path(missing).name} is missing" if missing else f"{SUMS} is damaged"
    return None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
