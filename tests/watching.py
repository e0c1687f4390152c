"""Keeps loading the newest version in a folder, as a server does, until told to stop.

``python tests/watching.py DIR STOP [--check]``: prints how often it loaded which
version once the file STOP exists; fails where a version is not whole.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import tensorflow as tf

from export.load import newest_version
from export.metadata import manifest


def main() -> None:
    out, stop = map(Path, sys.argv[1:3])
    loaded: Counter[str] = Counter()
    while not stop.exists():
        newest = newest_version(out)
        if newest is not None:
            if "--check" in sys.argv:
                manifest.check(newest)
            serve = tf.saved_model.load(str(newest)).signatures["serving_default"]
            answer = serve(image=tf.zeros((1, 12, 8, 3)))["probabilities"]
            assert abs(float(tf.reduce_sum(answer)) - 1) < 1e-3
            loaded[newest.name] += 1
    print(json.dumps(loaded))


if __name__ == "__main__":
    main()
