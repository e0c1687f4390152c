"""Checks whether an artifact is safe to load and the same network as its run."""
