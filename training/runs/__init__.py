"""Reads and writes the folder of a run."""

from training.runs.run import Run

__all__ = ["Run"]
