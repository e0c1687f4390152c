"""Loads data sets, decodes and augments images, and makes batches of them."""
