"""Writes requests by which TensorFlow Serving warms up a version before serving it.

The first request to a graph is slow: TensorFlow then optimises it and creates kernels.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from training.data.decoding.images import FILE_CHANNELS
from training.data.preprocessing import Preprocessing
from training.data.types import Tensor

# Where TensorFlow Serving looks for the requests in a version folder.
FILE = Path("assets.extra", "tf_serving_warmup_requests")


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
    log_class = _log_class()
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


# The parts of TensorFlow Serving's messages that a warm-up request has: name, number
# and type of each field (its prediction_log.proto, predict.proto and model.proto).
# The package tensorflow-serving-api has them too, but requires one build of TensorFlow.
MESSAGES = {
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "Input": {"key": (1, "string"), "value": (2, ".tensorflow.TensorProto")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "Input")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}
PROTO = "keras_resnet_warmup.proto"


def _log_class() -> Any:
    """Returns the class of PredictionLog messages."""
    pool = descriptor_pool.Default()
    tensor = tf.make_tensor_proto(0).DESCRIPTOR.file.name
    file = descriptor_pb2.FileDescriptorProto(
        name=PROTO, package="keras_resnet.warmup", syntax="proto3", dependency=[tensor]
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind == "Input"  # an entry of a map
            added = message.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if repeated else added.LABEL_OPTIONAL
            if kind == "string":
                added.type = added.TYPE_STRING
            else:
                package = "" if kind.startswith(".") else f".{file.package}."
                added.type, added.type_name = added.TYPE_MESSAGE, package + kind
    try:
        found = pool.FindFileByName(PROTO)
    except KeyError:
        pool.AddSerializedFile(file.SerializeToString())
        found = pool.FindFileByName(PROTO)
    log = found.message_types_by_name["PredictionLog"]
    return message_factory.GetMessageClass(log)
