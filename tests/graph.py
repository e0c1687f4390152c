"""How the layers of a model are connected."""

import keras


def sources(model: keras.Model, name: str) -> list[str]:
    """Names of the layers that a layer takes its input from."""
    names = {id(layer.output): layer.name for layer in model.layers}
    tensors = model.get_layer(name).input
    tensors = tensors if isinstance(tensors, list) else [tensors]
    return [names[id(tensor)] for tensor in tensors]
