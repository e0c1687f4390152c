"""Callbacks that write files and print progress during training."""
