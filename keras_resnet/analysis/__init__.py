"""What the papers measured of residual networks: lesions, paths, gradients."""
