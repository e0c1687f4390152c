"""The hyperparameters of a run, in groups: what each is called, means and defaults to.

Each field is an option of the command line, with the string below it as its help.
"""

from dataclasses import dataclass
from typing import Literal

from training.data.reading import MAX_PIXELS


@dataclass(frozen=True)
class Task:
    """What is trained, on what."""

    model: str = "resnet20_cifar"
    """Network: a name that `python -m keras_resnet list` prints."""
    overrides: tuple[str, ...] = ()
    """Fields of the network's spec to replace, say `shortcut=C width=32`."""
    dataset: str = "digits"
    """digits, tfds:NAME, idx:DIR, folder:DIR or synthetic:HxWxC:CLASSES:N. DIR may be
    a URL, say gs://bucket/photos."""
    image_size: int | None = None
    """Side of the network's input in pixels; None: the data's own, else the paper's."""
    validation: float = 0.0
    """Share of the training images held out where the data has no split for it."""

    skip_bad_images: bool = False
    """Leave out files of a folder that are no image, instead of refusing the folder."""
    cache: Literal["none", "memory", "disk"] = "none"
    """Keep images, encoded as they are, in memory or on a local disk, after a check
    that there is room. What is trained is the same to the bit."""
    max_pixels: int = MAX_PIXELS
    """Largest image that is decoded, width times height, told from a file's header."""


@dataclass(frozen=True)
class Optimization:
    """How the weights are updated."""

    epochs: int = 30
    """Passes over the training images."""
    batch_size: int = 128
    """Images per optimizer step."""
    accumulation: int = 1
    """Parts of equal size (the last may be smaller) in which a batch is computed one
    after the other, to save memory; gradients are those of the whole, batch-norm
    statistics those of a part."""
    optimizer: Literal["sgd", "adamw", "lamb"] = "sgd"
    """SGD with momentum, AdamW, or LAMB for large batches."""
    learning_rate: float = 0.1
    """Highest learning rate."""
    base_batch_size: int = 0
    """Batch size that the learning rates are meant for; they are scaled by the real
    one over it. 0: they are taken as they are."""
    schedule: Literal["constant", "step", "cosine", "linear", "one_cycle"] = "cosine"
    """Learning rate over time, after the warm-up. one_cycle has a rise of its own."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of the run at which `step` divides the learning rate by ten."""
    peak_at: float = 0.3
    """Share of the run at which one_cycle is highest, rising from 1/25 of that."""
    warmup: Literal["linear", "constant"] = "linear"
    """During the warm-up the learning rate rises, or stays at warmup_from."""
    warmup_epochs: float = 1.0
    """Length of the warm-up in epochs."""
    warmup_steps: int = 0
    """Length of the warm-up in optimizer steps, instead of epochs where it is not 0."""
    warmup_from: float = 0.0
    """Share of the learning rate that the warm-up begins with."""
    momentum: float = 0.9
    """Momentum of SGD; AdamW's and LAMB's β₁."""
    nesterov: bool = True
    """Nesterov's form of the momentum, for SGD."""
    weight_decay: float = 5e-4
    """SGD: λ of the penalty λ/2·‖w‖² added to the loss. AdamW and LAMB: decoupled."""
    decay: Literal["kernels", "all"] = "kernels"
    """Decay kernels only, or biases and batch-norm parameters too, as the papers do."""
    clip_norm: float = 0.0
    """Length that the gradient of all weights together is cut to; 0: not at all."""
    ema: float = 0.0
    """Decay a step of the moving average of weights and batch-norm statistics, which
    is then what is evaluated and saved; 0: none."""


@dataclass(frozen=True)
class Objective:
    """What is minimised."""

    loss: Literal["softmax", "bce"] = "softmax"
    """Cross-entropy of the softmax, or the mean binary cross-entropy of each class."""
    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over all classes."""
    bce_threshold: float | None = None
    """bce: targets above it become 1, the others 0; None: they stay as mixed."""


@dataclass(frozen=True)
class Augmentation:
    """How training images are changed at random."""

    augmentation: Literal["auto", "none", "pad_crop", "scale_crop", "area_crop"] = (
        "auto"
    )
    """pad_crop: pad, crop back. scale_crop: the ResNet paper's. area_crop: Inception's.
    auto: pad_crop where all images have one size, else area_crop."""
    pad: int | None = None
    """Pixels that pad_crop adds on each side; None: an eighth of the image."""
    flip: Literal["auto", "on", "off"] = "auto"
    """Mirror half of the images; auto: unless they show characters."""
    policy: Literal["none", "randaugment", "randaugment_timm", "trivial_wide"] = "none"
    """Random operations on each image: RandAugment with the paper's operations or
    timm's, or TrivialAugment with torchvision's wide ranges."""
    policy_count: int = 2
    """Operations in a row, of RandAugment."""
    policy_magnitude: float = 9.0
    """Strength of RandAugment's operations, 0 to 10."""
    policy_deviation: float = 0.0
    """Standard deviation of that strength."""
    policy_probability: float = 1.0
    """Probability of each of RandAugment's operations to be applied."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation are scaled by up to this share either way."""
    lighting: float = 0.0
    """Standard deviation of AlexNet's colour noise along ImageNet's principal axes."""
    erasing: float = 0.0
    """Probability that a random rectangle is replaced by the mean colour."""
    mixup: float = 0.0
    """α of mixup, in Beta(α, α); 0: none. With cutmix, each batch draws one of them."""
    cutmix: float = 0.0
    """α of cutmix; 0: none."""
    repeats: int = 1
    """Copies of an image, each augmented by itself, that an epoch holds side by side;
    it then sees one image in as many."""
    train_size: int | None = None
    """Side of the images trained on, where it is not the size evaluated at."""
    progressive: tuple[float, ...] = ()
    """Rising shares of that side, of which each, and at last the whole, is trained on
    for an equal part of the run."""
    eval_crop: float | None = None
    """Share of the image's side that evaluation looks at; None: 1, or 0.875 after a
    scale_crop or area_crop."""


@dataclass(frozen=True)
class FineTuning:
    """What training starts from, and what of it stays."""

    weights: str | None = None
    """Weights to start from: a run's model.keras, another file of this network, or
    imagenet. None: fresh ones."""
    freeze: tuple[str, ...] = ()
    """Parts of the network that stay as they are, batch-norm statistics too, say `stem
    stage1`; `all`: all but the head."""
    head_learning_rate: float | None = None
    """Learning rate of the head; None: that of the rest."""


@dataclass(frozen=True)
class Machine:
    """Where chance and arithmetic come from."""

    seed: int = 0
    """Seed of initial weights, order and augmentation."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the network in training; weights stay in float32. auto: bfloat16
    where the device has it and it pays, which a resumed run keeps to."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile the training step with XLA."""
    deterministic: bool = False
    """Use only operations that give the same bits every time; slower on a GPU, and
    needed there for a resumed run to equal an uninterrupted one. A CPU's always do."""
