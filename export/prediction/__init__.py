"""Classifies image files with an artifact."""
