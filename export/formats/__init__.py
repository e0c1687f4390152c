"""Writes a run as an artifact, one module for each format."""
