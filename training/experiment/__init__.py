"""A recipe made concrete and trained; the only room that reads whole recipes."""
