"""Many devices and processes that train one network."""
