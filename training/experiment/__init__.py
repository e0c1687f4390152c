"""Experiments built from recipes; no lower package reads whole recipes."""
