"""What is written and shown while a model is trained."""
