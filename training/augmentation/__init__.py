"""How training images are changed."""
