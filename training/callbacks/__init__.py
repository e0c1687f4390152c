"""The callbacks of a training session."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras

from training.callbacks.display import Display
from training.callbacks.followers import BestModel, History
from training.callbacks.tensorboard import Overview, Scalars
from training.data import samples
from training.progress import Progress
from training.runs import Run

if TYPE_CHECKING:
    from training.session import Session


def callback_list(
    session: "Session",
    run: Run,
    progress: Progress,
    extra: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.CallbackList:
    """Returns CSV history, TensorBoard, the best model's keeper and progress bar.

    Args:
        session: What is trained.
        run: Where they write.
        progress: Where the run stands.
        extra: What else is called.
    """
    recipe, dataset = session.recipe, session.dataset
    images = samples.trained_on(recipe, dataset, session.prepared)
    return keras.callbacks.CallbackList(
        [
            History(run, progress),
            Scalars(run, progress),
            Overview(run, progress, images),
            BestModel(run, progress),
            *extra,
            Display(progress, len(dataset.splits["train"])),
        ],
        model=session.model,
        epochs=recipe.epochs,
        steps=session.steps,
    )
