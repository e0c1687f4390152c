"""Converts spaces and points to and from keras-tuner's hyperparameters."""

from typing import Any

import keras_tuner

from training.recipes.recipe import literal
from training.sweeps.space import Choice, Point, Space

Values = dict[str, Any]  # keras-tuner's values: numbers, and text for the rest


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Converts a space to keras-tuner's hyperparameters."""
    parameters = keras_tuner.HyperParameters()
    for name, field in space.items():
        if isinstance(field, Choice):
            values = [encode({name: value}, space)[name] for value in field.values]
            parameters.Choice(name, values, ordered=field.numeric)
        else:
            number = parameters.Int if field.whole else parameters.Float
            scale = "log" if field.log else "linear"
            number(name, field.low, field.high, sampling=scale)
    return parameters


def encode(point: Point, space: Space) -> Values:
    """Converts a point to values for keras-tuner, which needs one type per field."""
    return {
        name: str(value)
        if isinstance(field := space[name], Choice) and not field.numeric
        else value
        for name, value in point.items()
    }


def decode(values: Values, space: Space) -> Point:
    """Converts keras-tuner's values to a point; ignores values of other names."""
    return {
        name: literal(values[name]) if isinstance(values[name], str) else values[name]
        for name in space
    }
