"""Exports models and verifies them: ``python -m export.saved_model --help``."""
