"""Package metadata; tool configuration is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

# What building, describing and loading networks needs, with any backend of Keras. Each
# package's reason is in docs/extend.md. The tests run with TensorFlow 2.21 and Keras
# 3.15; `make test-next` runs the fast ones with nightly builds.
REQUIRES = ["keras>=3.15,<3.16", "numpy>=2.0,<3", "tyro>=1.0,<2"]

_TENSORFLOW = ">=2.21,<2.22"
_X86 = "platform_machine in 'x86_64 AMD64' and sys_platform != 'darwin'"
_OTHER = "platform_machine not in 'x86_64 AMD64' or sys_platform == 'darwin'"
_TRAIN = [
    "tensorflow-datasets>=4.9.10,<5",
    "importlib_resources>=6",  # tensorflow-datasets 4.9 uses it without requiring it
    "pillow>=11",
    "psutil>=5.9",
    "fsspec>=2024.6",
    "tqdm>=4.66",
    "scikit-learn>=1.5",
    "scipy>=1.13",
    "tensorboard>=2.19",
    "jinja2>=3.1",
    "matplotlib>=3.9",
]
_SWEEP = [*_TRAIN, "keras-tuner>=1.4.8,<1.5", "rich>=13"]
_EXPORT = [*_TRAIN, "ai-edge-litert>=2.1", "flatbuffers>=24"]
_ONNX = ["tf2onnx>=1.17,<2", "onnx>=1.17", "onnxruntime>=1.20"]
_OPENVINO = ["openvino>=2025.0"]
EXTRAS = {
    "train": _TRAIN,
    "sweep": _SWEEP,
    "export": _EXPORT,
    # One of these three builds of TensorFlow.
    "tensorflow": [f"tensorflow{_TENSORFLOW}"],
    "cpu": [
        f"tensorflow-cpu{_TENSORFLOW}; {_X86}",
        f"tensorflow{_TENSORFLOW}; {_OTHER}",
    ],
    "gpu": [f"tensorflow[and-cuda]{_TENSORFLOW}"],
    "jax": ["jax>=0.8.2"],  # the other backend; JAX' own extras add GPUs and TPUs
    "onnx": _ONNX,
    "openvino": _OPENVINO,
    "torch": ["torch>=2.6", "safetensors>=0.4"],
    "ray": ["ray[train]>=2.60,<2.61"],
    "remote": ["gcsfs>=2024.6", "s3fs>=2024.6"],
    "docs": ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.29"],
    "dev": [
        *(*_SWEEP, *_EXPORT, *_ONNX, *_OPENVINO, f"tensorflow{_TENSORFLOW}"),
        f"tensorflow-serving-api{_TENSORFLOW}",
        *("pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9", "mypy>=1.13"),
        "filelock>=3",  # for artifacts that the processes of the tests share
        *("jax>=0.8.2", "safetensors>=0.4", "pyyaml>=6", "twine>=6", "build>=1.2"),
    ],
}

setup(
    name="residual-keras",
    version="0.1.0",
    description="The residual-network lineage, exactly as published, on Keras 3",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["keras_resnet*", "training*", "export*"]),
    package_data={
        "keras_resnet": ["py.typed"],
        "training.reports": ["page.html.j2", "report.html.j2"],
        "training.sweeps": ["report.html.j2"],
        "export.runtimes": ["classify.c"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
