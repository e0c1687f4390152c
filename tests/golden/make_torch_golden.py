"""Records what torchvision's and timm's networks compute, for test_weights_torch.py.

Run in an environment of its own, with torch, torchvision and timm::

    python tests/golden/make_torch_golden.py tests/golden/torch.json.gz

Weights are drawn from each parameter's name, so that the test can draw them again; the
file holds the names and shapes of parameters, and the logits of one image.
"""

import gzip
import json
import sys
import zlib

import numpy as np
from torch_repaired import torch, torchvision

# isort: split
import timm

TORCHVISION = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50_v1_5": "resnet50",
    "resnet101_v1_5": "resnet101",
    "resnet152_v1_5": "resnet152",
    "resnext50_32x4d": "resnext50_32x4d",
    "resnext101_32x8d": "resnext101_32x8d",
    "resnext101_64x4d": "resnext101_64x4d",
    "densenet121": "densenet121",
    "densenet161": "densenet161",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
    "vgg11": "vgg11",
    "vgg13": "vgg13",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "vgg11_bn": "vgg11_bn",
    "vgg13_bn": "vgg13_bn",
    "vgg16_bn": "vgg16_bn",
    "vgg19_bn": "vgg19_bn",
    "alexnet_one_tower": "alexnet",
    "googlenet": "googlenet",
}
TIMM = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50_v1_5": "resnet50",
    "resnet101_v1_5": "resnet101",
    "resnet152_v1_5": "resnet152",
    "resnext50_32x4d": "resnext50_32x4d",
    "resnext101_32x4d": "resnext101_32x4d",
    "resnext101_32x8d": "resnext101_32x8d",
    "resnext101_64x4d": "resnext101_64x4d",
    "densenet121": "densenet121",
    "densenet161": "densenet161",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
    "vgg11": "vgg11",
    "vgg16_bn": "vgg16_bn",
}
SHOWN = 16  # logits kept of each network


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter's values, from its name; test_weights_torch.py draws the same."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, "int64")
    if len(shape) < 2:
        spread = rng.random(shape, "float32")
        if name.endswith("running_var"):
            return spread + np.float32(0.5)
        # γ below 1, lest 152 layers add up to more than float32 compares well
        return spread / 2 if name.endswith("weight") else (spread - 0.5) / 5
    fan_in = int(np.prod(shape[1:]))
    return rng.standard_normal(shape, "float32") * np.float32((2 / fan_in) ** 0.5)


def image() -> np.ndarray:
    """One image ``(1, 3, 224, 224)`` with large shapes, not noise."""
    y, x = np.mgrid[:224, :224].astype("float32") / 32
    return np.stack([np.sin(x + c) * np.cos((c + 1) * y / 2) for c in range(3)])[None]


def record(model: torch.nn.Module) -> dict:
    state = {
        name: torch.from_numpy(drawn(name, tuple(value.shape)))
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    model.eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(image()))[0].numpy()
    return {
        "parameters": {name: list(value.shape) for name, value in state.items()},
        "logits": [float(value) for value in logits[:SHOWN]],
        "largest": float(np.abs(logits).max()),
    }


def main(path: str) -> None:
    versions = {m.__name__: m.__version__ for m in (torch, torchvision, timm)}
    golden = {"versions": versions, "torchvision": {}, "timm": {}}
    for ours, theirs in TORCHVISION.items():
        extra = {"init_weights": False} if ours == "googlenet" else {}
        model = getattr(torchvision.models, theirs)(weights=None, **extra)
        golden["torchvision"][ours] = record(model)
        print("torchvision", theirs, golden["torchvision"][ours]["largest"], flush=True)
    for ours, theirs in TIMM.items():
        golden["timm"][ours] = record(timm.create_model(theirs, pretrained=False))
        print("timm", theirs, golden["timm"][ours]["largest"], flush=True)
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(json.dumps(golden).encode())


if __name__ == "__main__":
    main(sys.argv[1])
