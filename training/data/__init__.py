"""From stored images to batches: sources, reading, the way into the network."""
