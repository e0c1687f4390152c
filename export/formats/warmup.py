"""Writes requests by which TensorFlow Serving warms up a version before serving it.

The first request to a graph is slow: TensorFlow then optimises it and creates kernels.
"""

from pathlib import Path

import tensorflow as tf

from export.metadata.messages import Messages, message_class
from training.data.decoding.images import FILE_CHANNELS
from training.data.preprocessing import Preprocessing
from training.data.types import Tensor

# Where TensorFlow Serving looks for the requests in a version folder.
FILE = Path("assets.extra", "tf_serving_warmup_requests")
# The fields that a warm-up request has (prediction_log.proto, predict.proto and
# model.proto of TensorFlow Serving). The package tensorflow-serving-api has them too,
# but requires one build of TensorFlow.
MESSAGES: Messages = {
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    # An entry of a map.
    "Input": {"key": (1, "string"), "value": (2, ".tensorflow.TensorProto")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "repeated Input")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}


def requests(preprocessing: Preprocessing) -> dict[str, dict[str, Tensor]]:
    """Returns the inputs of each signature for one black image."""
    height, width, channels = preprocessing.input_shape
    image = tf.zeros((1, height, width, channels))
    found = {"serving_default": {"image": image}, "features": {"image": image}}
    if channels in FILE_CHANNELS:
        file = tf.io.encode_jpeg(tf.cast(image[0], tf.uint8))
        found["classify_bytes"] = {"image_bytes": file[tf.newaxis]}
    return found


def write(folder: Path, model: str, requests: dict[str, dict[str, Tensor]]) -> None:
    """Writes requests into a version folder as a TFRecord of PredictionLogs.

    Args:
        folder: The version folder.
        model: Name of the model in the requests.
        requests: Inputs by signature.
    """
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    tensors = tf.make_tensor_proto(0).DESCRIPTOR.file.name
    log_class = message_class("PredictionLog", "keras_resnet.warmup", MESSAGES, tensors)
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, inputs in requests.items():
            log = log_class()
            request = log.predict_log.request
            request.model_spec.name = model
            request.model_spec.signature_name = signature
            for name, tensor in inputs.items():
                entry = request.inputs.add(key=name)
                entry.value.CopyFrom(tf.make_tensor_proto(tensor))
            records.write(log.SerializeToString())
