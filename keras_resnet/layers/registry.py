"""The name under which the layers are found in saved files."""

import keras

register = keras.saving.register_keras_serializable("keras_resnet")
