"""Sends image files to a SavedModel and sees how much memory that takes."""

from pathlib import Path
from typing import Any

import tensorflow as tf


def peak() -> int:
    """Peak memory of this program so far, MiB.

    Not ``getrusage``'s, which begins at that of the process that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def ask(version: Path, folder: Path) -> dict[str, Any]:
    """Returns by how many MiB the peak has grown, and the answers by files' names.

    Args:
        version: The SavedModel.
        folder: The files; 0.jpg is a good one.
    """
    loaded = tf.saved_model.load(str(version))
    serve = loaded.signatures["classify_bytes"]
    good = (folder / "0.jpg").read_bytes()
    serve(image_bytes=tf.constant([good] * 4))
    before, answers = peak(), {}
    for file in sorted(folder.iterdir()):
        try:
            serve(image_bytes=tf.constant([good, file.read_bytes()]))
        except tf.errors.InvalidArgumentError as error:
            lines = str(error).splitlines()
            answers[file.name] = next(x for x in lines if "image must" in x)
        else:
            answers[file.name] = "served"
    serve(image_bytes=tf.constant([good] * 4))
    return {"MiB": peak() - before, "answers": answers}
