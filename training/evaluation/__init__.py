"""Predictions of a model and what they are worth."""
