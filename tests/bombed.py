"""Sends image files to a SavedModel; prints how much memory that took, and the answers.

``python tests/bombed.py VERSION FOLDER``: JSON; 0.jpg in the folder is a good file.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf


def peak() -> int:
    """Peak memory of this program so far, MiB.

    Not ``getrusage``'s, which begins at that of the process that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def main() -> None:
    version, folder = map(Path, sys.argv[1:])
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
    print(json.dumps({"MiB": peak() - before, "answers": answers}))


if __name__ == "__main__":
    main()
