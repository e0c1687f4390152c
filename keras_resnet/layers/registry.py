"""Registers layers under the package name that saved files refer to."""

import keras

register = keras.saving.register_keras_serializable("keras_resnet")
