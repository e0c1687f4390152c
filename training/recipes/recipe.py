"""Defines ``Recipe``, a frozen dataclass with every hyperparameter of a run."""

import math
from ast import literal_eval
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, get_type_hints

from keras_resnet.errors import UsageError, suggest
from keras_resnet.numeric import plain
from training.recipes.checks import check_ranges, check_type
from training.recipes.fields import (
    Augmentation,
    FineTuning,
    Machine,
    Objective,
    Optimization,
    Task,
)


@dataclass(frozen=True)
class Recipe(
    Machine, FineTuning, Augmentation, Objective, Optimization, Task
):  # a dataclass takes the fields of its last base first
    """Every hyperparameter of a run; each field is a command-line option."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Recipe).items():
            value = plain(getattr(self, name))  # JSON has no NumPy numbers
            check_type(name, value, hint)
            if hint is float:  # JSON may hold 1 for 1.0, but Keras rejects an int
                value = float(value)
            object.__setattr__(self, name, value)
        check_ranges(self)
        for name in ("learning_rate", "head_learning_rate"):
            _check_rate(name, getattr(self, name))
        self._check_together()
        _ = self.spec_fields

    def _check_together(self) -> None:
        for name in ("milestones", "progressive"):
            shares = getattr(self, name)
            if list(shares) != sorted(shares):
                raise UsageError(f"{name} must be in ascending order, got {shares}")
        for name, value, most, of in (
            ("warmup_epochs", self.warmup_epochs, self.epochs, "epochs"),
            ("accumulation", self.accumulation, self.batch_size, "batch_size"),
            (
                "sizes in progressive",
                len(self.progressive),
                self.epochs - 1,
                "epochs - 1",
            ),
        ):
            if value > most:
                raise UsageError(f"{name} must be at most {of} ({most}), got {value}")
        if self.bce_threshold is not None and self.loss != "bce":
            raise UsageError(
                f"bce_threshold must be None unless loss is bce, got "
                f"{self.bce_threshold} with loss {self.loss}"
            )
        if self.cache_side is not None and self.cache != "decoded":
            raise UsageError(
                f"cache_side must be None unless cache is decoded, got "
                f"{self.cache_side} with cache {self.cache}"
            )

    @cached_property
    def spec_fields(self) -> dict[str, Any]:
        """The overrides as a mapping; numbers and tuples are parsed."""
        pairs = [item.partition("=") for item in self.overrides]
        for field, sign, value in pairs:
            if not (field and sign and value):
                raise UsageError(
                    f"overrides must have the form FIELD=VALUE, got "
                    f"{field + sign + value!r}"
                )
        return {field: literal(value) for field, _, value in pairs}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Creates a recipe from the result of ``to_dict``; missing fields get defaults.

        Raises:
            UsageError: A field is unknown or its value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(
                    f"unknown recipe field {name!r}; {suggest(name, known)}"
                    f"fields: {', '.join(known)}"
                )
        return cls(**values)  # which turns lists into tuples

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @property
    def fixed(self) -> dict[str, Any]:
        """The fields, as JSON values, that all sessions of a run must share."""
        fixed = {k: v for k, v in self.to_dict().items() if k not in EPHEMERAL}
        # Decoded images have other pixels, because they are shrunk before the crop.
        cache = "decoded" if self.cache == "decoded" else "none, memory or disk"
        return {**fixed, "cache": cache}


# Overrides that restore the former architectures of these names; older configs, which
# have no network spec, and older sweeps, which have no trial prefix, refer to them.
_FORMER = {
    "resnet110_sd_cifar": "shortcut=A",
    "resnet1202_sd_cifar": "shortcut=A",
}


def with_former_network(recipe: dict[str, Any]) -> dict[str, Any]:
    """Returns a recipe's fields with the network that its name denoted before."""
    former = _FORMER.get(recipe.get("model", ""))
    if former is None:
        return recipe
    overrides = [former, *recipe.get("overrides", ())]  # the last one of a field wins
    return {**recipe, "overrides": overrides}


def as_trained(config: Any) -> Any:
    """Returns a run's config with overrides that give the network the run trained.

    A network's name in an older config may denote another architecture today.
    """
    if not isinstance(config, dict):  # not a config, which the caller reports
        return config
    recipe, model = config.get("recipe"), config.get("model")
    if not isinstance(recipe, dict) or not isinstance(model, dict) or "spec" in model:
        return config
    return {**config, "recipe": with_former_network(recipe)}


# Fields that may differ when a run is resumed: they change no bit of the result, or
# the run warns. Of the data set, only the place may differ (config.require_same), and
# of the cache, only what ``Recipe.fixed`` allows.
EPHEMERAL = ("cache", "dataset", "deterministic")


def _check_rate(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise UsageError(f"{name} must be finite and greater than 0, got {value}")


_TRUTHS = {"true": True, "false": False}


def literal(text: str) -> Any:
    """Parses numbers, true, false, None and lists of these; other text stays a string.

    Lists become tuples, so that a list and a tuple compare equal.
    """
    if text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    try:
        return _plain(literal_eval(text))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError
