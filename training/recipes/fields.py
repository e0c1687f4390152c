"""Defines the hyperparameters of a run, in groups.

Each field is a command-line option; the string below a field is its help text. Many
upper bounds are far above any sensible value: they report a typo before it fills the
memory.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from training.data.reading import MAX_PIXELS
from training.recipes.checks import Range


@dataclass(frozen=True)
class Task:
    """Selects the network and the data set."""

    model: str = "resnet20_cifar"
    """Name of the network; `python -m keras_resnet list` prints all names."""
    overrides: tuple[str, ...] = ()
    """Fields of the network's spec to replace, such as `shortcut=C width=32`."""
    dataset: str = "digits"
    """digits, tfds:NAME, idx:DIR, folder:DIR or synthetic:HxWxC:CLASSES:N. DIR may be
    a URL, such as gs://bucket/photos."""
    image_size: Annotated[int | None, Range(1, 2**15)] = None
    """Side of the input in pixels. None: the size that the data set states for all its
    images (a folder states none), otherwise the size in the network's paper."""
    validation: Annotated[float, Range(0, 0.9)] = 0.0
    """Fraction of the training images to hold out if there is no validation split."""
    skip_bad_images: bool = False
    """Skip bad image files of a data set instead of stopping with an error."""
    cache: Literal["none", "memory", "disk", "decoded"] = "none"
    """none: read each file every time. memory, disk: keep the encoded images in memory
    or on a local disk; results are bit-identical. decoded: keep the training images on
    a local disk, decoded and shrunk to cache_side; results differ."""
    cache_side: Annotated[int | None, Range(1, 2**15)] = None
    """Shorter side in pixels of the images that `--cache decoded` keeps. None: the side
    of the training images, divided by eval_crop (256 for 224)."""
    max_pixels: Annotated[int, Range(1)] = MAX_PIXELS
    """Largest image to decode, as width times height according to the file header."""


@dataclass(frozen=True)
class Optimization:
    """Controls how the weights are updated."""

    epochs: Annotated[int, Range(1, 10**6)] = 30
    """Number of passes over the training images."""
    batch_size: Annotated[int, Range(1, 2**20)] = 128
    """Number of images per optimizer step."""
    batch_norm: Literal["synchronized", "replica"] = "synchronized"
    """Images whose statistics batch norms use in a training step on several devices.
    synchronized: the whole batch. replica: each device's own images (TensorFlow only),
    which exchanges less data and lets XLA compile the step."""
    accumulation: Annotated[int, Range(1)] = 1
    """Number of equal parts (the last may be smaller) into which a batch is split to
    save memory. The parts are computed one after the other; gradients are those of
    the whole batch, batch-norm statistics those of each part."""
    optimizer: Literal["sgd", "adamw", "lamb"] = "sgd"
    """SGD with momentum, AdamW, or LAMB for large batches."""
    learning_rate: float = 0.1
    """Peak learning rate."""
    base_batch_size: Annotated[int, Range(0, 2**20)] = 0
    """Batch size that the learning rates are given for. They are multiplied by
    batch_size / base_batch_size. 0: no scaling."""
    schedule: Literal["constant", "step", "cosine", "linear", "one_cycle"] = "cosine"
    """Learning-rate schedule of the whole run, multiplied by the warm-up factor.
    one_cycle has its own rise and ignores the warm-up options."""
    milestones: Annotated[tuple[float, ...], Range(0, 1)] = (0.5, 0.75)
    """Fractions of the run at which `step` divides the learning rate by ten."""
    peak_at: Annotated[float, Range(0.01, 0.99)] = 0.3
    """Fraction of the run at which one_cycle peaks; it starts at 1/25 of the peak."""
    warmup: Literal["linear", "constant"] = "linear"
    """Warm-up: raise the learning rate linearly, or keep it at warmup_from."""
    warmup_epochs: Annotated[float, Range(0)] = 1.0
    """Length of the warm-up in epochs."""
    warmup_steps: Annotated[int, Range(0, 10**9)] = 0
    """Length of the warm-up in optimizer steps; replaces warmup_epochs unless 0."""
    warmup_from: Annotated[float, Range(0, 1)] = 0.0
    """Learning rate at the start of the warm-up, as a fraction of learning_rate."""
    momentum: Annotated[float, Range(0, 1)] = 0.9
    """Momentum of SGD; β₁ of AdamW and LAMB."""
    nesterov: bool = True
    """Use Nesterov momentum (SGD only)."""
    weight_decay: Annotated[float, Range(0)] = 5e-4
    """SGD: λ of the penalty λ/2·‖w‖² added to the loss. AdamW and LAMB: decay rate,
    applied apart from the gradient of the loss."""
    decay: Literal["kernels", "all"] = "kernels"
    """Decay only kernels, or biases and batch-norm parameters too, as in the papers."""
    clip_norm: Annotated[float, Range(0)] = 0.0
    """Maximum norm of the gradient of all weights together; 0: no clipping."""
    ema: Annotated[float, Range(0, 0.999999)] = 0.0
    """Decay per step of the moving average of weights and batch-norm statistics. The
    average is then evaluated and saved. 0: no average."""


@dataclass(frozen=True)
class Objective:
    """Defines the loss to minimize."""

    loss: Literal["softmax", "bce"] = "softmax"
    """Softmax cross-entropy, or binary cross-entropy averaged over the classes."""
    label_smoothing: Annotated[float, Range(0, 0.99)] = 0.0
    """Fraction of each target to spread evenly over all classes."""
    bce_threshold: Annotated[float | None, Range(0, 0.99)] = None
    """With bce: set targets above this value to 1, the others to 0. None: keep them."""


@dataclass(frozen=True)
class Augmentation:
    """Controls the random changes to training images."""

    augmentation: Literal["auto", "none", "pad_crop", "scale_crop", "area_crop"] = (
        "auto"
    )
    """pad_crop: pad, then crop to the old size. scale_crop: the ResNet paper's crop.
    area_crop: Inception's crop. auto: pad_crop if the data set states one size for
    all its images (a folder states none), otherwise area_crop."""
    pad: Annotated[int | None, Range(0, 2**15)] = None
    """Pixels that pad_crop adds on each side. None: an eighth of the image."""
    flip: Literal["auto", "on", "off"] = "auto"
    """Mirror half of the images. auto: on unless the images show characters."""
    policy: Literal["none", "randaugment", "randaugment_timm", "trivial_wide"] = "none"
    """Random operations on each image: RandAugment with the paper's or timm's
    operations, or TrivialAugment with torchvision's wide ranges."""
    policy_count: Annotated[int, Range(1, 10)] = 2
    """Number of RandAugment operations applied in sequence."""
    policy_magnitude: Annotated[float, Range(0, 10)] = 9.0
    """Strength of the RandAugment operations, 0 to 10."""
    policy_deviation: Annotated[float, Range(0, 100)] = 0.0
    """Standard deviation of the RandAugment strength."""
    policy_probability: Annotated[float, Range(0, 1)] = 1.0
    """Probability of applying each RandAugment operation."""
    color_jitter: Annotated[float, Range(0, 1)] = 0.0
    """Maximum relative change of brightness, contrast and saturation, 0 to 1."""
    lighting: Annotated[float, Range(0, 1)] = 0.0
    """Standard deviation of AlexNet's colour noise along ImageNet's principal axes."""
    erasing: Annotated[float, Range(0, 1)] = 0.0
    """Probability of replacing a random rectangle with the mean colour."""
    mixup: Annotated[float, Range(0, 1000)] = 0.0
    """α of mixup's Beta(α, α); 0: no mixup. If cutmix is set too, each batch randomly
    uses one of them."""
    cutmix: Annotated[float, Range(0, 1000)] = 0.0
    """α of cutmix's Beta(α, α); 0: no cutmix."""
    repeats: Annotated[int, Range(1, 1000)] = 1
    """Number of consecutive, independently augmented copies of each image. An epoch
    keeps its length, so it uses only 1/repeats of the images."""
    train_size: Annotated[int | None, Range(1, 2**15)] = None
    """Side of the training images in pixels. None: the size used for evaluation."""
    progressive: Annotated[tuple[float, ...], Range(0.1, 1)] = ()
    """Increasing fractions of the training image side. Each of them, and finally the
    full side, is used for an equal part of the run."""
    eval_crop: Annotated[float | None, Range(0.1, 1)] = None
    """Fraction of the image side that evaluation uses. None: 0.875 with scale_crop or
    area_crop, else 1."""


@dataclass(frozen=True)
class FineTuning:
    """Sets the initial weights and the frozen layers."""

    weights: str | None = None
    """Initial weights: a run's model.keras, another weights file for this network, or
    imagenet. None: random initial weights."""
    freeze: tuple[str, ...] = ()
    """Parts of the network to freeze, with their batch-norm statistics, such as `stem
    stage1`. `all`: everything except the head."""
    head_learning_rate: float | None = None
    """Learning rate of the head. None: learning_rate."""


@dataclass(frozen=True)
class Machine:
    """Controls random seeds, numerical precision and compilation."""

    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Seed of the initial weights, the order of the images and the augmentation."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of training computations; weights stay in float32. auto: bfloat16 if
    the device supports it and gains from it; a resumed run keeps its precision."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile the training step with XLA. auto: on a GPU if XLA can compile the model
    (on several GPUs only with --batch-norm replica), and always with JAX."""
    deterministic: bool = False
    """Use only bit-reproducible operations, as a CPU always does. Slower on a GPU, but
    needed there for a resumed run to equal an uninterrupted one."""
