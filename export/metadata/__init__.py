"""What an artifact says about itself: its manifest, labels and preprocessing."""
