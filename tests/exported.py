"""Runs and their artifacts, which the processes of a session of tests make once."""

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from export import onnx, saved_model, tflite
from export.graph.options import GraphOptions
from training.runs.run import Run

Export = Callable[[Run, Path], Path]  # a run, a folder to write to -> the artifact


def _saved_model(options: GraphOptions) -> Export:
    return lambda run, folder: saved_model.export(run, folder / "versions", options)


def _tflite(kind: tflite.Quantization) -> Export:
    def export(run: Run, folder: Path) -> Path:
        path = folder / "model.tflite"
        # The network of this run has seen noise: its accuracy is chance.
        tflite.export(run, path, kind, max_drop=100)
        return path

    return export


EXPORTERS: dict[str, Export] = {
    "SavedModel": _saved_model(GraphOptions()),
    "SavedModel with variables": _saved_model(GraphOptions(freeze=False)),
    "SavedModel bf16": _saved_model(GraphOptions(compute="bf16")),
    "SavedModel bf16 with variables": _saved_model(
        GraphOptions(compute="bf16", freeze=False)
    ),
    "ONNX": lambda run, folder: onnx.export(run, folder / "model.onnx"),
    "TFLite": _tflite("none"),
    "TFLite float16": _tflite("float16"),
    "TFLite dynamic": _tflite("dynamic"),
    "TFLite int8": _tflite("int8"),
}


class SharedFolders:
    """Folders that the first process to ask fills and all others read.

    Args:
        root: A folder that all processes of the session know.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def get(self, name: str, fill: Callable[[Path], object]) -> Path:
        """Returns the folder of a name; ``fill`` writes what it holds, once."""
        folder, draft = self.root / name, self.root / f"draft of {name}"
        with FileLock(self.root / f"{name}.lock"):
            if not folder.exists():
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                fill(draft)
                draft.rename(folder)
        return folder


class Artifacts:
    """A run's artifacts by the names of ``EXPORTERS``, to be read only."""

    def __init__(self, run: Run, folders: SharedFolders) -> None:
        self._run, self._folders = run, folders

    def __getitem__(self, name: str) -> Path:
        """Returns the path of an artifact, exported when it is first asked for."""

        def fill(draft: Path) -> None:
            path = EXPORTERS[name](self._run, draft)
            (draft / "path").write_text(str(path.relative_to(draft)))

        folder = self._folders.get(name, fill)
        return folder / (folder / "path").read_text()
