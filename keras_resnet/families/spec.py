"""Defines the base classes of the specs of all families."""

from abc import ABC, abstractmethod

import keras
from keras import KerasTensor

from keras_resnet.families.ops import head

CIFAR, CIFAR_CLASSES = (32, 32, 3), 10
IMAGENET, IMAGENET_CLASSES = (224, 224, 3), 1000


class Spec(ABC):
    """An architecture as data: a frozen dataclass that forms one row of a table."""

    @property
    def for_cifar(self) -> bool:
        """Whether the paper trains the network on CIFAR-10 rather than on ImageNet."""
        return False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Input shape in the paper, ``(H, W, C)``."""
        return CIFAR if self.for_cifar else IMAGENET

    @property
    def classes(self) -> int:
        """Number of classes in the paper."""
        return CIFAR_CLASSES if self.for_cifar else IMAGENET_CLASSES

    @property
    @abstractmethod
    def smallest_side(self) -> int:
        """Side of the smallest supported input, in pixels."""

    @abstractmethod
    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features."""

    @abstractmethod
    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to float32 logits ``(N, classes)``; pooled features for 0."""


class StagedSpec(Spec):
    """A network of stages, each at half the previous size, and a linear head.

    Attributes:
        depths: Units or layers in each stage.
    """

    depths: tuple[int, ...]

    @property
    def smallest_side(self) -> int:
        """Side of the smallest supported input, which gives one feature pixel."""
        return int((1 if self.for_cifar else 4) * 2 ** (len(self.depths) - 1))

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to logits ``(N, classes)``; for 0, to pooled features."""
        return head(x, classes)


class AuxiliarySpec(Spec):
    """A network with auxiliary classifiers, which are used only in training.

    Attributes:
        auxiliary_weight: Weight of each auxiliary loss in the training loss.
    """

    auxiliary_weight: float

    @abstractmethod
    def auxiliary(self, model: keras.Model, classes: int) -> list[KerasTensor]:
        """Attaches the classifiers to a model and returns their float32 logits."""
