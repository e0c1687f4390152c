"""Training of one model on several devices and in several processes."""
