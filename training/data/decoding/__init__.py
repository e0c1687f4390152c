"""Decodes the bytes of image files to pixels."""
