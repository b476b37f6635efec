"""Adapters for network providers that take orders by an API of their own, one a file."""
