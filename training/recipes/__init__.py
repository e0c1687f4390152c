"""Hyperparameters of a run, and recipes with the values of the papers."""
