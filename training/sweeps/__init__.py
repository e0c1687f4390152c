"""Runs hyperparameter sweeps: keras-tuner searches spaces of recipes."""
