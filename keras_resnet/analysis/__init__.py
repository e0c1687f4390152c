"""Repeats the papers' measurements of residual networks: lesions, paths, gradients."""
