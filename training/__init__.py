"""Training, evaluation and reports: ``python -m training.fit --help``."""
