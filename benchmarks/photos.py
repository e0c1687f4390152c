"""Generates synthetic JPEG files with the size and detail of ImageNet's."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (375, 500)  # height and width


def picture(number: int) -> Any:
    """Returns a photo-like image with clouds of several sizes, shapes and grain."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(number)
    height, width = SHAPE
    pixels = 128 + rng.normal(0, 3, (height, width, 3))
    for cells, strength in ((4, 66), (12, 30), (40, 15), (125, 7)):
        small = rng.normal(0, strength, (cells * 3 // 4, cells, 3)).astype(np.float32)
        for channel in range(3):
            cloud = Image.fromarray(small[..., channel])
            smooth = cloud.resize((width, height), Image.Resampling.BICUBIC)
            pixels[..., channel] += np.asarray(smooth)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = rng.integers(width), rng.integers(height)
        box = (left, top, left + rng.integers(10, 160), top + rng.integers(10, 160))
        shape = (draw.ellipse, draw.rectangle)[rng.integers(2)]
        shape(tuple(map(int, box)), fill=tuple(map(int, rng.integers(0, 255, 3))))
    return image


def save(path: Path) -> None:
    part = path.with_suffix(".part")
    picture(int(path.stem)).save(part, "JPEG", quality=96, subsampling=0)
    part.replace(path)


def make(folder: Path, count: int) -> None:
    """Creates the missing files of two classes."""
    paths = [folder / f"class{i % 2}" / f"{i:05}.jpg" for i in range(count)]
    missing = [path for path in paths if not path.is_file()]
    for name in ("class0", "class1"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if missing:
        from tqdm import tqdm

        with ProcessPoolExecutor() as pool:
            list(tqdm(pool.map(save, missing, chunksize=16), total=len(missing)))
