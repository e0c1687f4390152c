"""Measures reading JPEGs for training: the pipeline, its bounds and torchvision.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --torch-python OTHER_ENVIRONMENT/bin/python
    python benchmarks/input_pipeline.py --caches
    python benchmarks/input_pipeline.py --train

The script creates files of 500×375 once in the folder for temporary files. Like most
ImageNet files, they have quality 96 and colour at full resolution; this gives 115 KB,
ImageNet's average size. The contenders take turns. Each reads all files from the page
cache with the same number of threads:

- the *decode bound* is ``tf.io.decode_jpeg`` only;
- the *crop bound* is ``tf.image.decode_and_crop_jpeg`` with the pipeline's own crops,
  drawn beforehand;
- the pipeline draws order and crops, reads, decodes, crops, resizes to 224, mirrors and
  batches.

``--caches`` compares the pipeline with each kind of ``training.fit --cache`` instead,
and tells how many cores keep a device busy. All copies are in the page cache, too.

Ratios of core times depend less on other programs than ratios of median times.
"""

import os
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from interleaved import Candidate, Step, measure, report, work
from machine import describe
from peers import torchvision_loader, with_torchvision
from photos import SHAPE, make

Cache = Literal["none", "memory", "disk", "decoded"]
BATCH, TRAINED = 64, 16
TRAINING_STEPS = 4  # per turn


@dataclass(frozen=True)
class Options:
    """Compare the input pipeline with its bounds and with torchvision's."""

    images: int = 5000
    """Number of files to read."""
    rounds: int = 5
    """Timed turns per contender."""
    augmentation: Literal["area_crop", "scale_crop"] = "area_crop"
    """Inception's crop, which torchvision's loader also uses, or the ResNet paper's."""
    caches: bool = False
    """Measure the pipeline with each kind of cache instead."""
    rate: float = 7157
    """Images per second that a device trains on, for --caches; the default follows from
    MLPerf's results of ResNet-50 for an H100."""
    train: bool = False
    """Measure steps of ResNet-50 from files and from memory instead."""
    torch_python: str | None = None
    """Python interpreter with torch and torchvision; None: omit torchvision."""


def data(folder: str, augmentation: str, cache: Cache = "none") -> tuple[Any, Any, Any]:
    """Returns the recipe, the data set and the preprocessing of this pipeline."""
    from dataclasses import replace

    from training.data.preprocessing import Preprocessing
    from training.data.reading import ReadOptions
    from training.data.sources import load_splits
    from training.recipes.catalogue import RECIPES

    recipe = replace(
        RECIPES["resnet_imagenet"],
        batch_size=BATCH,
        augmentation=augmentation,
        lighting=0.0,
        cache=cache,
    )
    preprocessing = Preprocessing((224, 224), 3, 0.875, (0.0,) * 3, (1.0,) * 3)
    dataset = load_splits(f"folder:{folder}", ReadOptions(cache=cache))
    return recipe, dataset, preprocessing


def ours(folder: str, count: int, cache: Cache = "none") -> Step:
    from training.experiment.augmentation import training_data, with_decoded_images

    recipe, dataset, preprocessing = data(*folder.split("|"), cache)
    pipeline = training_data(recipe, dataset, preprocessing)
    pipeline, _ = with_decoded_images(pipeline, recipe, preprocessing.crop)

    def step() -> None:
        read = 0
        for images, _ in pipeline.batches(epoch=0):
            read += images.shape[0]
        assert read == count, (read, count)

    return step


def bound(folder: str, *, cropped: bool, threads: bool = True) -> Step:
    """Returns a step that only decodes, in the order in which the pipeline reads."""
    import tensorflow as tf

    from training.data import pipeline
    from training.storage.system import cpu_count

    recipe, dataset, preprocessing = data(*folder.split("|"))
    split = dataset.splits["train"]
    order, windows = drawn(recipe, split, preprocessing)

    def decode(path: Any, window: Any) -> Any:
        contents = tf.io.read_file(path)
        if cropped:
            image = tf.image.decode_and_crop_jpeg(contents, window, channels=3)
        else:
            image = tf.io.decode_jpeg(contents, channels=3)
        return tf.size(image)

    files = tf.gather(split.images, order)
    batches = tf.data.Dataset.from_tensor_slices((files, windows))
    at_once = cpu_count() if threads else tf.data.AUTOTUNE
    batches = batches.map(decode, num_parallel_calls=at_once).batch(BATCH)
    batches = batches.prefetch(pipeline.PREFETCH if threads else tf.data.AUTOTUNE)
    if threads:
        batches = batches.with_options(pipeline.threading_options())

    def step() -> None:
        for _ in batches:
            pass

    return step


def drawn(recipe: Any, split: Any, way_in: Any) -> tuple[Any, Any]:
    """Returns the order of the pipeline's first epoch and the crops that it draws."""
    import tensorflow as tf

    from training.data.augmentation.augmentation import Augmentation
    from training.data.pipeline import sample_index_and_seed

    augmentation = Augmentation((way_in.size,), geometry=recipe.augmentation)

    def example(position: Any) -> tuple[Any, Any]:
        epoch_seed = tf.constant([0, 0])
        index, seed = sample_index_and_seed(position, len(split), epoch_seed)
        return index, augmentation.window(way_in.size, seed)(tf.constant(SHAPE))

    examples = tf.data.Dataset.range(len(split)).map(example).batch(len(split))
    return next(iter(examples))


def training(folder: str, *, in_memory: bool) -> Step:
    """Returns steps of ResNet-50, from files or always with the same images."""
    from dataclasses import replace
    from itertools import count, islice

    from keras_resnet import create_model
    from training.engine.forward import ModelPair
    from training.experiment.augmentation import training_data
    from training.experiment.optimisation import make_optimizer, make_step

    recipe, dataset, preprocessing = data(*folder.split("|"))
    recipe = replace(recipe, batch_size=TRAINED, model="resnet50")
    model = create_model("resnet50")
    optimizer = make_optimizer(recipe, 1000)
    training_step = make_step(
        ModelPair(model, model), preprocessing, optimizer=optimizer, recipe=recipe
    )
    epochs = count()
    batches = training_data(recipe, dataset, preprocessing).batches(epoch=0)
    held = list(islice(batches, TRAINING_STEPS))

    def step() -> None:
        pipeline = training_data(recipe, dataset, preprocessing)
        read = pipeline.batches(epoch=next(epochs))
        for images, labels in held if in_memory else islice(read, TRAINING_STEPS):
            training_step.step(images, labels)

    return step


READING = {
    "ours": Candidate("residual-keras: crop, resize to 224, mirror, batch", ours),
    "crop": Candidate("crop bound", lambda f, _: bound(f, cropped=True)),
    "decode": Candidate("decode bound", lambda f, _: bound(f, cropped=False)),
    "default": Candidate(
        "decode bound, TensorFlow's default threads",
        lambda f, _: bound(f, cropped=False, threads=False),
    ),
    "torchvision": Candidate(
        "torchvision ImageFolder, DataLoader, a process a core", torchvision_loader
    ),
}
CACHES = {
    cache: Candidate(f"--cache {cache}", partial(ours, cache=cache))
    for cache in get_args(Cache)
}
TRAINING = {
    "files": Candidate(
        "resnet50 from files", lambda f, _: training(f, in_memory=False)
    ),
    "held": Candidate(
        "resnet50 from images held in memory", lambda f, _: training(f, in_memory=True)
    ),
}
RATIOS = (
    ("ours", "crop"),
    ("ours", "decode"),
    ("ours", "default"),
    ("ours", "torchvision"),
    ("decoded", "none"),
    ("files", "held"),
)


def main() -> None:
    """Runs the command line."""
    import tyro

    options = tyro.cli(Options)
    folder = Path(tempfile.gettempdir()) / f"residual-keras-{options.images}-photos"
    make(folder, options.images)
    os.environ["KERAS_RESNET_CACHE"] = f"{folder}-cache"
    contenders, count = with_torchvision(READING, options.torch_python), options.images
    if options.caches:
        contenders = CACHES
    if options.train:
        contenders, count = TRAINING, TRAINED * TRAINING_STEPS
    print(describe())
    arguments = (f"{folder}|{options.augmentation}", count)
    results = measure(__file__, contenders, arguments, rounds=options.rounds, warmup=1)
    title = f"{options.images} JPEG files of 500×375, {options.augmentation}"
    ratios = [(mine, peer) for mine, peer in RATIOS if mine in contenders]
    report(title, count, contenders, results, ratios)
    used = {key: np.median(found.processor) / count for key, found in results.items()}
    for mine, peer in ratios:
        if peer in results and peer != "torchvision":  # its children use the time
            print(f"  {mine} / {peer}, by core time: {used[peer] / used[mine]:.2f}×")
    for key, seconds in used.items():
        line = (
            f"{1e6 * seconds:.0f} µs of core time per image, {1 / seconds:.0f} a second"
        )
        cores = f"{options.rate * seconds:.1f} cores for {options.rate:,.0f} a second"
        print(f"  {key}: {line}{f', {cores}' if options.caches else ''}")


if __name__ == "__main__" and not work(READING | CACHES | TRAINING):
    main()
