"""``python -m export.tflite RUN --out FILE``: for phones and small devices."""

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
from keras_resnet import command
from keras_resnet.errors import Stopped, UsageError
from training.runs.run import Run

if TYPE_CHECKING:
    from training.data.types import Dataset

Quantization = Literal["none", "float16", "dynamic", "int8"]
CALIBRATION_IMAGES = 300  # that the ranges of int8 activations are measured on


@dataclass(frozen=True)
class Options:
    """Export a run's network as a TensorFlow Lite file.

    Its accuracy on the test split is measured before and after. Where it drops by more
    than --max-drop, nothing is written and the exit status is 1.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path
    """The file, NAME.tflite; an older one is replaced once the new one is complete."""
    quantize: Quantization = "none"
    """none: float32. float16: weights in half precision. dynamic: weights in 8 bits.
    int8: weights and activations in 8 bits, pixels as uint8."""
    images: int | None = None
    """How many test images to measure the accuracy on, spread evenly; None: all."""
    max_drop: float = 1.0
    """Points (0.01) of accuracy that the file may lose."""
    dataset: str | None = None
    """Where the run's data set is now, if it was moved."""


@dataclass(frozen=True)
class Accuracy:
    """Share of test images classified rightly.

    Attributes:
        before: By the run's network in float32.
        after: By the file, in LiteRT.
        images: Their number.
    """

    before: float
    after: float
    images: int

    @property
    def drop(self) -> float:
        """Points lost."""
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
    """Writes a flatbuffer, raw pixels → probabilities, with labels and a manifest.

    The input is float32 pixels 0–255, of int8 files uint8; the output float32.

    Args:
        run: A complete run.
        out: The file.
        quantize: See ``Options``.
        images: Test images to measure the accuracy on; None: all.
        max_drop: Points of accuracy that it may lose.
        dataset: Where the run's data set is now; None: where it was.

    Raises:
        UsageError: The run is not complete, its data set has changed, ``out`` is no
            place for a .tflite, or the disk is full.
        Stopped: The accuracy drops by more; nothing is written.
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
            f"{accuracy.images} images); {out} is as it was: choose another --quantize "
            "or a higher --max-drop"
        )
    flatbuffer = tflite_metadata.embed(flatbuffer, run.config["model"]["name"], about)
    measured = {**asdict(accuracy), "drop": accuracy.drop}
    facts = {"format": "TFLite", "quantize": quantize, "accuracy": measured}
    publish(flatbuffer, out, run, facts)
    return accuracy


def convert(saved: Path, run: Run, quantize: Quantization, data: "Dataset") -> bytes:
    """Converts a run's SavedModel to a graph with ``serving_default`` alone."""
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

    The converter drops ``tf.ensure_shape``. It keeps concatenations, which LiteRT
    refuses where the parts differ in rank or on another axis: the first with a black
    image unless rank, height, width and channels fit, the second unless there is a
    first image (an empty batch would leave LiteRT in a state in which the next request
    ends the process).

    Args:
        saved: The SavedModel.
        finite: Whether to answer NaN for pixels that are not finite. Integers always
            are, and 8 bits cannot hold NaN.
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
    with command.descriptor_silenced(2):  # MLIR reports its progress there
        return bytes(converter.convert())


def calibration(run: Run, data: "Dataset") -> Iterator[np.ndarray]:
    """Yields training images as evaluation sees them, float32 ``(1, H, W, C)``."""
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
            # The input's range must be 0 to 255 for its scale to be one grey level, so
            # that raw pixels can be given; two corners will do.
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
    with command.descriptor_silenced(2):  # LiteRT says there that it starts
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
