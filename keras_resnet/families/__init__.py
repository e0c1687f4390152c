"""Defines each family of networks in one module: its spec, table and builder."""
