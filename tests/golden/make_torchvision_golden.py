"""Records how torchvision's networks deviate from ours, for test_deviations.py.

Run in an environment of its own, with torch and torchvision::

    python tests/golden/make_torchvision_golden.py tests/golden/torchvision.json
"""

import json
import sys

from torch_repaired import torch, torchvision

SIDES = (64, 96, 224)  # of images
PAIR = (0.0, 2.0)  # the variance of the two is 1 biased and 2 unbiased
NETWORKS = ("alexnet", "densenet121", "resnet18", "resnext50_32x4d")


def classifies(model: torch.nn.Module, side: int) -> bool:
    return model(torch.zeros(1, 3, side, side)).shape == (1, 1000)


def record(model: torch.nn.Module) -> dict:
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    found = {
        "sides": [side for side in SIDES if classifies(model.eval(), side)],
        "momentum": sorted({norm.momentum for norm in norms}),
    }
    if norms:
        norm = norms[0].train()
        norm(torch.tensor(PAIR).reshape(2, 1, 1, 1).expand(2, norm.num_features, 1, 1))
        found["variance"] = round(float(norm.running_var[0]), 6)
    return found


def main(path: str) -> None:
    golden = {"versions": {m.__name__: m.__version__ for m in (torch, torchvision)}}
    for name in (*NETWORKS, "vgg11", "vgg11_bn"):
        golden[name] = record(getattr(torchvision.models, name)(weights=None))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
