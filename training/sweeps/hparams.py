"""Writes the trials' hyperparameters for TensorBoard's HParams page."""

import shutil

import tensorflow as tf
from tensorboard.plugins.hparams import api

from training.sweeps.folder import Sweep
from training.sweeps.results import rows_of


def write_hparams(sweep: Sweep) -> None:
    """Writes each completed trial that has no folder yet."""
    for row in rows_of(sweep):
        folder = sweep.path / "tensorboard" / row["trial"]
        if row["status"] != "completed" or folder.exists():
            continue
        values = {name: row[name] for name in sweep.settings["fields"]}
        plain = {n: v if type(v) in (int, float) else str(v) for n, v in values.items()}
        # A kill while writing must not leave a folder that looks complete.
        fresh = folder.with_name(f".{row['trial']}")
        shutil.rmtree(fresh, ignore_errors=True)
        with tf.summary.create_file_writer(str(fresh)).as_default():
            api.hparams(plain, trial_id=row["trial"])
            for name in ("top1", "val_top1", "params", "macs", "seconds"):
                tf.summary.scalar(name, row[name], step=row["epochs"])
        fresh.rename(folder)
