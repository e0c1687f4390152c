"""Reads local and remote files, and writes files atomically."""
