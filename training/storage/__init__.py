"""Files: local or remote, written completely or not at all."""
