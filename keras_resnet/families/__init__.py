"""One module per family of networks: its spec, its table and what builds it."""
