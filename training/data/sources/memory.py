"""Creates data sets without files: scikit-learn's digits, and synthetic images."""

import re

import numpy as np

from keras_resnet.errors import UsageError
from training.data.sources import cache
from training.data.types import Dataset, pixels


def digits(argument: str) -> Dataset:
    """Returns scikit-learn's 1,797 digits: grey, 8×8, pixels scaled to 0–255."""
    if argument:
        raise UsageError(f"digits takes no argument, got 'digits:{argument}'")
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    return Dataset(
        name="digits",
        splits={"train": pixels(images, data.target)},
        labels=tuple(str(name) for name in data.target_names),
        channels=1,
        size=(8, 8),
        mirrors=False,
    )


def synthetic(argument: str) -> Dataset:
    """Returns N images of noise around one pattern per class, and N/5 test images.

    The seed is fixed. The data can be learned; use it for benchmarks and to try sizes.

    Raises:
        UsageError: The argument is invalid, or the data does not fit in memory.
    """
    n = r"(\d{1,9})"
    match = re.fullmatch(f"{n}x{n}x{n}:{n}:{n}", argument)
    numbers = [int(group) for group in match.groups()] if match else [0]
    if min(numbers) < 1 or numbers[3] < 2:
        raise UsageError(
            "synthetic data must be synthetic:HxWxC:CLASSES:N with positive numbers "
            f"below 10⁹ and at least 2 classes, got 'synthetic:{argument}'"
        )
    height, width, channels, classes, count = numbers
    tested = max(classes, count // 5)
    # Of each pixel the pattern's copy, the noise, and their sum in 16 bits.
    image, label, name = 4 * height * width * channels, 8, 64
    needed = (count + tested) * (image + label) + classes * (image // 4 + name)
    cache.require_memory(f"synthetic:{argument}", needed, "ask for fewer or smaller")
    rng = np.random.default_rng(0)
    patterns = rng.integers(64, 192, (classes, height, width, channels), np.uint8)

    def split(size: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(size) % classes
        noise = rng.integers(-64, 64, (size, height, width, channels), np.int8)
        return (patterns[labels] + noise).astype(np.uint8), labels

    return Dataset(
        name="synthetic",
        splits={
            "train": pixels(*split(count)),
            "test": pixels(*split(tested)),
        },
        labels=tuple(f"class{i}" for i in range(classes)),
        channels=channels,
        size=(height, width),
        mirrors=False,
    )
