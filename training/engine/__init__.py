"""The training loop: steps, checkpoints and callbacks."""
