"""Adapters to off-net network providers, one a file; `base` says what all of them promise."""
