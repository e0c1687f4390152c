"""What a user asks for: hyperparameters, and the papers' values of them."""
