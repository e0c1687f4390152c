"""A run as data: every hyperparameter in one frozen record."""

import math
from ast import literal_eval
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_type_hints

from keras_resnet.errors import UsageError
from training.checks import check_range, check_type


@dataclass(frozen=True)
class Recipe:
    """Every hyperparameter of a run; the command line is made from these fields."""

    model: str = "resnet20_cifar"
    """Network: a name that `python -m keras_resnet list` prints."""
    overrides: tuple[str, ...] = ()
    """Fields of the network's spec to replace, say `shortcut=C width=32`."""
    dataset: str = "digits"
    """digits, tfds:NAME, idx:DIR, folder:DIR or synthetic:HxWxC:CLASSES:N."""
    image_size: int | None = None
    """Side of the network's input in pixels; None: the data's own, else the paper's."""
    validation: float = 0.0
    """Share of the training images held out where the data has no split for it."""

    skip_bad_images: bool = False
    """Leave out files of a folder that are no image, instead of refusing the folder."""

    epochs: int = 30
    """Passes over the training images."""
    batch_size: int = 128
    """Images per optimizer step."""
    learning_rate: float = 0.1
    """Highest learning rate."""
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    """Learning rate over time, after the warm-up."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of the run at which `step` divides the learning rate by ten."""
    warmup_epochs: float = 1.0
    """Epochs in which the learning rate rises linearly from zero."""
    momentum: float = 0.9
    """Momentum of stochastic gradient descent."""
    nesterov: bool = True
    """Nesterov's form of the momentum."""
    weight_decay: float = 5e-4
    """λ of the penalty λ/2·‖w‖² added to the loss."""
    decay: Literal["kernels", "all"] = "kernels"
    """Decay kernels only, or biases and batch-norm parameters too, as the papers do."""

    augmentation: Literal["auto", "none", "pad_crop", "scale_crop", "area_crop"] = (
        "auto"
    )
    """pad_crop: pad, crop back. scale_crop: the ResNet paper's. area_crop: Inception's.
    auto: pad_crop where all images have one size, else area_crop."""
    pad: int | None = None
    """Pixels that pad_crop adds on each side; None: an eighth of the image."""
    flip: Literal["auto", "on", "off"] = "auto"
    """Mirror half of the images; auto: unless they show characters."""
    eval_crop: float | None = None
    """Share of the image's side that evaluation looks at; None: 1, or 0.875 after a
    scale_crop or area_crop."""

    seed: int = 0
    """Seed of initial weights, order and augmentation."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the network; weights stay in float32."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile the training step with XLA."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Recipe).items():
            check_type(name, getattr(self, name), hint)
            if hint is float:  # Keras refuses an int, as JSON has for 1.0
                object.__setattr__(self, name, float(getattr(self, name)))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                check_range(name, number, low, high)
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(
                f"learning_rate must be finite and greater than 0, got "
                f"{self.learning_rate}"
            )
        if list(self.milestones) != sorted(self.milestones):
            raise UsageError(f"milestones must rise, got {self.milestones}")
        if self.warmup_epochs > self.epochs:
            raise UsageError(
                f"warmup_epochs must be at most epochs ({self.epochs}), got "
                f"{self.warmup_epochs}"
            )
        _ = self.spec_fields

    @property
    def spec_fields(self) -> dict[str, Any]:
        """The overrides as a mapping, numbers and tuples read as such."""
        pairs = [item.partition("=") for item in self.overrides]
        for field, sign, value in pairs:
            if not (field and sign and value):
                raise UsageError(
                    f"overrides must look like FIELD=VALUE, got "
                    f"{field + sign + value!r}"
                )
        return {field: _literal(value) for field, _, value in pairs}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Reads what ``to_dict`` made, also where fields are missing.

        Raises:
            UsageError: A field is unknown or its value out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise UsageError(
                    f"unknown recipe field {name!r}; {hint}fields: {', '.join(known)}"
                )
        listed: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items()
        }
        return cls(**listed)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)


# Bounds of the numbers: field, lowest, highest (None: no bound). None values pass.
_RANGES: tuple[tuple[str, float, float | None], ...] = (
    ("image_size", 1, None),
    ("validation", 0, 0.9),
    ("epochs", 1, None),
    ("batch_size", 1, None),
    ("milestones", 0, 1),
    ("warmup_epochs", 0, None),
    ("momentum", 0, 1),
    ("weight_decay", 0, None),
    ("pad", 0, None),
    ("eval_crop", 0.1, 1),
    ("seed", 0, 2**31 - 1),
)


def _literal(text: str) -> Any:
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return text  # a word, not a number or tuple
