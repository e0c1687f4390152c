"""Predictions of a model and the metrics derived from them."""
