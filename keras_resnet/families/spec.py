"""What the specs of all families share."""

from abc import ABC, abstractmethod

import keras
from keras import KerasTensor

from keras_resnet.families.ops import head

CIFAR, CIFAR_CLASSES = (32, 32, 3), 10
IMAGENET, IMAGENET_CLASSES = (224, 224, 3), 1000


class Spec(ABC):
    """An architecture as data: a frozen dataclass, one row of a family's table."""

    @property
    def for_cifar(self) -> bool:
        """Whether the paper trains the network on CIFAR-10; if not, on ImageNet."""
        return False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The paper's input, ``(H, W, C)``."""
        return CIFAR if self.for_cifar else IMAGENET

    @property
    def classes(self) -> int:
        """The paper's number of classes."""
        return CIFAR_CLASSES if self.for_cifar else IMAGENET_CLASSES

    @property
    @abstractmethod
    def smallest_side(self) -> int:
        """The side of the smallest input, in pixels."""

    @abstractmethod
    def features(self, x: KerasTensor) -> KerasTensor:
        """Maps images ``(N, H, W, C)`` to features."""

    @abstractmethod
    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to float32 logits ``(N, classes)``, pooled features for 0."""


class StagedSpec(Spec):
    """A network of stages, each at half the size of the one before, and a linear head.

    Attributes:
        depths: Units or layers in each stage.
    """

    depths: tuple[int, ...]

    @property
    def smallest_side(self) -> int:
        """Pixels of the input per pixel of the features."""
        return int((1 if self.for_cifar else 4) * 2 ** (len(self.depths) - 1))

    def classifier(self, x: KerasTensor, classes: int) -> KerasTensor:
        """Maps features to logits ``(N, classes)``, or pooled features for 0."""
        return head(x, classes)


class AuxiliarySpec(Spec):
    """A network with auxiliary classifiers, which only training uses.

    Attributes:
        auxiliary_weight: Weight of each auxiliary loss in the training loss.
    """

    auxiliary_weight: float

    @abstractmethod
    def auxiliary(self, model: keras.Model, classes: int) -> list[KerasTensor]:
        """Attaches the classifiers to a model; returns their float32 logits."""
