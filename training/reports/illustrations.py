"""Collects the images, network figure and analyses of a run's report."""

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import UsageError
from training.reports import Picture, adapt_svg, inline
from training.runs.run import Run

if TYPE_CHECKING:
    import keras
    import numpy as np

    from training.data.preprocessing import Preprocessing
    from training.data.types import Dataset

SIDE = 128  # maximum side of an image in pixels
PIXELATED = 64  # smaller images are enlarged without smoothing
WALK_BYTES = 200_000  # a larger figure of a network is left to ``describe --figure``


def images(
    run: Run, mistakes: list[dict[str, Any]], dataset: str | None = None
) -> dict[str, Any]:
    """Returns training images, and mistakes with their images, as data URLs.

    If the data has moved or changed, ``missing`` gives the reason.

    Args:
        run: A complete run.
        mistakes: The mistakes in the run's assessment.
        dataset: Present location of the run's data set; None: it has not moved.

    Raises:
        UsageError: ``dataset`` is not the data set of the run.
    """
    from training.data import samples
    from training.data.preprocessing import Preprocessing
    from training.experiment.augmentation import training_data
    from training.experiment.data import load_run_dataset

    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    small = max(preprocessing.size) < PIXELATED
    try:
        data = load_run_dataset(run, dataset)
    except UsageError as error:
        if dataset is not None:
            raise
        shown = [{**mistake, "source": None} for mistake in mistakes]
        found = {"samples": [], "mistakes": shown, "missing": str(error)}
        return found | {"small": small}
    seen = samples.training_samples(training_data(run.recipe, data, preprocessing))
    return {
        "samples": [_source(image) for image in seen],
        "mistakes": _with_images(mistakes, data, preprocessing),
        "missing": None,
        "small": small,
    }


def _with_images(
    mistakes: list[dict[str, Any]], data: "Dataset", preprocessing: "Preprocessing"
) -> list[dict[str, Any]]:
    from training.data import samples

    if not mistakes:
        return []
    indices = [mistake["index"] for mistake in mistakes]
    images = samples.evaluation_samples(data, "test", indices, preprocessing)
    pairs = zip(mistakes, images, strict=True)
    return [{**mistake, "source": _source(image)} for mistake, image in pairs]


def walk(model: "keras.Model") -> Picture | None:
    """Draws a network's feature maps; returns None if the figure is too large."""
    from keras_resnet.figures.walk import draw

    figure, text = draw(model)
    drawn = inline(figure)
    if len(drawn) > WALK_BYTES:
        return None
    return Picture("Feature maps", drawn, text)


def analyses(run: Run) -> list[Picture]:
    """Returns the pictures that ``keras_resnet.analysis`` wrote to the run's folder."""
    found = []
    for file in sorted((run.path / "analysis").glob("*.json")):
        picture = file.with_suffix(".svg")
        if picture.is_file():
            text = json.loads(file.read_text(encoding="utf-8"))["summary"]
            drawn = adapt_svg(picture.read_text(encoding="utf-8"))
            found.append(Picture(file.stem.capitalize(), drawn, text))
    return found


def _source(image: "np.ndarray") -> str:
    from training.data.samples import png

    return f"data:image/png;base64,{b64encode(png(image, SIDE)).decode()}"
