"""Converts a run's SavedModel to a TensorFlow Lite file and measures its accuracy."""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from export.formats import saved_model
from export.formats.accuracy import Accuracy, measure_accuracy
from export.formats.single_file import publish, require_place
from export.metadata.description import Description
from keras_resnet import streams
from keras_resnet.errors import Stopped
from training.runs.run import Run

if TYPE_CHECKING:
    from training.data.types import Dataset

Quantization = Literal["none", "float16", "dynamic", "int8"]
CALIBRATION_IMAGES = 300  # for measuring the ranges of int8 activations


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
        quantize: ``"none"``: float32. ``"float16"``: half-precision weights.
            ``"dynamic"``: 8-bit weights. ``"int8"``: 8-bit weights and activations.
        images: Number of test images for the accuracy; None: all.
        max_drop: Largest allowed loss of accuracy in points.
        dataset: Current location of the run's data set; None: unchanged.

    Raises:
        UsageError: The run is incomplete, its data set has changed, ``out`` is not a
            valid .tflite path, or the disk is full.
        Stopped: The accuracy drops by more than ``max_drop``; nothing is written.
    """
    run.require_complete()
    require_place(out, ".tflite")
    from export.formats import tflite_metadata
    from training.experiment.data import load_run_dataset

    about = Description.of_run(run.config)
    data = load_run_dataset(run, dataset)
    with tempfile.TemporaryDirectory() as folder:
        saved = saved_model.export(run, Path(folder))
        flatbuffer = convert(saved, run, quantize, data)
        accuracy = measure_accuracy(saved, flatbuffer, run, data, images)
    _require_small_drop(accuracy, max_drop, out)
    flatbuffer = tflite_metadata.embed(flatbuffer, run.config["model"]["name"], about)
    measured = {**asdict(accuracy), "drop": accuracy.drop}
    facts = {"format": "TFLite", "quantize": quantize, "accuracy": measured}
    publish(flatbuffer, out, run, facts)
    return accuracy


def _require_small_drop(accuracy: Accuracy, max_drop: float, out: Path) -> None:
    if accuracy.drop > max_drop:
        raise Stopped(
            f"accuracy must drop by at most {max_drop:g} points, got "
            f"{accuracy.drop:.2f} ({accuracy.before:.4f} → {accuracy.after:.4f} on "
            f"{accuracy.images} images); {out} is unchanged: use another --quantize "
            "or a higher --max-drop"
        )


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

    from export.graph.serving import nan_where_not_finite

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
