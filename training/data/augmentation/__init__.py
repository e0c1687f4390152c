"""Changes training images at random."""
