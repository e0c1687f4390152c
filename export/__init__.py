"""Export and its proof: ``python -m export.saved_model --help``."""
