"""Measures the speed of artifacts."""
