"""Exports a run for phones and small devices: ``python -m export.tflite RUN``."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from export.single_file import publish, require_place
from keras_resnet import command, streams
from keras_resnet.errors import Stopped, UsageError
from training.runs.run import Run

if TYPE_CHECKING:
    from training.data.types import Dataset

Quantization = Literal["none", "float16", "dynamic", "int8"]
CALIBRATION_IMAGES = 300  # for measuring the ranges of int8 activations


@dataclass(frozen=True)
class Options:
    """Export the model of a run as a TensorFlow Lite file.

    The accuracy on the test split is measured before and after the conversion. If it
    drops by more than --max-drop, nothing is written and the exit status is 1.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path
    """Output file, NAME.tflite; a complete new file replaces an older one."""
    quantize: Quantization = "none"
    """none: float32. float16: half-precision weights. dynamic: 8-bit weights. int8:
    8-bit weights and activations, uint8 pixels."""
    images: int | None = None
    """Number of test images for the accuracy, spread evenly; if omitted, all."""
    max_drop: float = 1.0
    """Largest allowed loss of accuracy in points (0.01)."""
    dataset: str | None = None
    """Current location of the run's data set, if it has moved."""


@dataclass(frozen=True)
class Accuracy:
    """Share of test images classified correctly.

    Attributes:
        before: Share for the run's model in float32.
        after: Share for the file in LiteRT.
        images: Number of test images.
    """

    before: float
    after: float
    images: int

    @property
    def drop(self) -> float:
        """Loss of accuracy in points."""
        return 100 * (self.before - self.after)


def export(
    run: Run,
    out: Path,
    quantize: Quantization = "none",
    *,
    images: int | None = None,
    max_drop: float = 1.0,
    dataset: str | None = None,
) -> Accuracy:
    """Writes a TFLite file, raw pixels → probabilities, with labels and a manifest.

    The input is float32 pixels 0–255, uint8 for int8 files; the output is float32.

    Args:
        run: A complete run.
        out: Path of the file.
        quantize: See ``Options``.
        images: Number of test images for the accuracy; None: all.
        max_drop: Largest allowed loss of accuracy in points.
        dataset: Current location of the run's data set; None: unchanged.

    Raises:
        UsageError: The run is incomplete, its data set has changed, ``out`` is not a
            valid .tflite path, or the disk is full.
        Stopped: The accuracy drops by more than ``max_drop``; nothing is written.
    """
    from export import saved_model, tflite_metadata
    from export.description import Description
    from training.experiment.data import load_run_dataset

    run.require_complete()
    require_place(out, ".tflite")
    about = Description.of_run(run.config)
    data = load_run_dataset(run, dataset)
    with tempfile.TemporaryDirectory() as folder:
        saved = saved_model.export(run, Path(folder))
        flatbuffer = convert(saved, run, quantize, data)
        accuracy = _accuracy(saved, flatbuffer, run, data, images)
    if accuracy.drop > max_drop:
        raise Stopped(
            f"accuracy must drop by at most {max_drop:g} points, got "
            f"{accuracy.drop:.2f} ({accuracy.before:.4f} → {accuracy.after:.4f} on "
            f"{accuracy.images} images); {out} is unchanged: use another --quantize "
            "or a higher --max-drop"
        )
    flatbuffer = tflite_metadata.embed(flatbuffer, run.config["model"]["name"], about)
    measured = {**asdict(accuracy), "drop": accuracy.drop}
    facts = {"format": "TFLite", "quantize": quantize, "accuracy": measured}
    publish(flatbuffer, out, run, facts)
    return accuracy


def convert(saved: Path, run: Run, quantize: Quantization, data: "Dataset") -> bytes:
    """Returns a run's SavedModel as a TFLite file, with ``serving_default`` only.

    Args:
        saved: Version folder of the SavedModel.
        run: The run that it was exported from.
        quantize: See ``Options``.
        data: The run's data set, for the calibration of int8.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        module = _checking(saved, finite=quantize != "int8")
        tf.saved_model.save(module, folder, module.serve)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        return _converted(converter, run, quantize, data)


def _checking(saved: Path, *, finite: bool) -> Any:
    """Returns the graph of a SavedModel with checks that survive the conversion.

    The converter drops ``tf.ensure_shape`` but keeps concatenations, which LiteRT
    rejects if the parts differ in rank or on another axis. The first one, with a black
    image, checks rank, height, width and channels. The second one checks that there is
    an image: after an empty batch, the next request would crash LiteRT.

    Args:
        saved: Version folder of the SavedModel.
        finite: Whether to return NaN for pixels that are not finite. Integers always
            are finite, and 8 bits cannot represent NaN.
    """
    import tensorflow as tf

    from export.serving import nan_where_not_finite

    module = tf.Module()
    module.saved = tf.saved_model.load(str(saved))
    signature = module.saved.signatures["serving_default"]
    given = signature.structured_input_signature[1]["image"]
    black = tf.zeros((1, *given.shape[1:]))

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        two = tf.concat([image[:1], black], 0)
        two = tf.concat([two, tf.zeros((2, 1, *black.shape[2:]))], 1)[:, :-1]
        _, probabilities = module.saved.outputs(tf.concat([image, two], 0)[:-2])
        if finite:
            probabilities = nan_where_not_finite(image, probabilities)
        return {"probabilities": probabilities}

    module.serve = tf.function(serve, [given], autograph=False)
    return module


def _converted(
    converter: Any, run: Run, quantize: Quantization, data: "Dataset"
) -> bytes:
    import tensorflow as tf

    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: ([x] for x in calibration(run, data))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    with streams.descriptor_silenced(2):  # MLIR logs to stderr
        return bytes(converter.convert())


def calibration(run: Run, data: "Dataset") -> Iterator[np.ndarray]:
    """Yields training images, prepared as for evaluation, float32 ``(1, H, W, C)``."""
    from training.data.pipeline import evaluation_batches
    from training.data.preprocessing import Preprocessing

    split = data.split("train")
    count = min(CALIBRATION_IMAGES, len(split))
    chosen = np.random.default_rng(0).permutation(len(split))[:count]
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    batches = evaluation_batches(split.take(np.sort(chosen)), preprocessing, 1)
    for number, (pixels, _) in enumerate(batches.as_numpy_iterator()):
        image = pixels.astype(np.float32)
        if number == 0:
            # For raw pixels the scale of the input must be one grey level, which needs
            # the range 0 to 255: two corner pixels suffice.
            image[0, 0, 0], image[0, -1, -1] = 0, 255
        yield image


def _accuracy(
    saved: Path, flatbuffer: bytes, run: Run, data: "Dataset", images: int | None
) -> Accuracy:
    from ai_edge_litert.interpreter import Interpreter

    from export.runtimes import litert, tensorflow
    from export.worker import BATCH_SIZE
    from training.data.pipeline import evaluation_batches
    from training.data.preprocessing import Preprocessing

    before = tensorflow.open_session(saved, "SavedModel")
    with streams.descriptor_silenced(2):  # LiteRT logs to stderr
        after = litert.session(
            Interpreter(model_content=flatbuffer, num_threads=os.cpu_count())
        )
    split = data.split("test")
    if images is not None and images < len(split):
        split = split.take(np.linspace(0, len(split) - 1, images).astype(int))
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    right = {"before": 0, "after": 0}
    batches = evaluation_batches(split, preprocessing, BATCH_SIZE)
    bar = tqdm(batches.as_numpy_iterator(), "accuracy", disable=None, leave=False)
    for pixels, labels in bar:
        for name, session in {"before": before, "after": after}.items():
            best = session.classify(pixels.astype(np.float32)).argmax(-1)
            right[name] += int((best == labels).sum())
    shares = {name: count / len(split) for name, count in right.items()}
    return Accuracy(**shares, images=len(split))


def main() -> None:
    """Runs the command line."""
    options = command.parse(Options, prog="python -m export.tflite")
    require_place(options.out, ".tflite")
    if options.images is not None and options.images < 1:
        raise UsageError(f"images must be at least 1, got {options.images}")
    run = Run.open(options.run)
    run.require_complete()
    command.load_backend()
    accuracy = export(
        run,
        options.out,
        options.quantize,
        images=options.images,
        max_drop=options.max_drop,
        dataset=options.dataset,
    )
    size = options.out.stat().st_size / 2**20
    print(f"TFLite: {options.out} ({options.quantize}, {size:.2f} MiB)")
    print(
        f"  accuracy {accuracy.before:.4f} → {accuracy.after:.4f} on "
        f"{accuracy.images} test images"
    )


if __name__ == "__main__":
    command.run(main)
