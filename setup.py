"""Package metadata; tool configuration is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIRES = [
    "tensorflow>=2.21,<2.22",
    "keras>=3.15,<3.16",
    "tensorflow-datasets>=4.9.10,<5",
    "importlib_resources>=6",  # tensorflow-datasets 4.9 uses it without saying so
    "numpy>=2.0,<3",
    "pillow>=11",
    "psutil>=5.9",
    "fsspec>=2024.6",
    "tqdm>=4.66",
    "scikit-learn>=1.5",
    "scipy>=1.13",
    "tensorboard>=2.19",
    "tyro>=1.0,<2",
    "keras-tuner>=1.4.8,<1.5",
    "rich>=13",
    "jinja2>=3.1",
    "matplotlib>=3.9",
    "ai-edge-litert>=2.1",
    "flatbuffers>=24",
    "tensorflow-serving-api>=2.21,<2.22",
]
EXTRAS = {
    "torch": ["torch>=2.6", "safetensors>=0.4"],
    "ray": ["ray[train]>=2.60,<2.61"],
    "remote": ["gcsfs>=2024.6", "s3fs>=2024.6"],
    "onnx": ["tf2onnx>=1.17,<2", "onnx>=1.17", "onnxruntime>=1.20"],
    "openvino": ["openvino>=2025.0"],
    "docs": ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.29"],
    "dev": [
        *("pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9", "mypy>=1.13"),
        *("jax>=0.6", "safetensors>=0.4", "pyyaml>=6"),
    ],
}
EXTRAS["dev"] += EXTRAS["onnx"] + EXTRAS["openvino"]

setup(
    name="keras-resnet",
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
