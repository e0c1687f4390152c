"""What a step minimises, how, and at which rate."""
