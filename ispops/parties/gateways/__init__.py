"""Adapters of payment gateways, one a file: they speak to the outside and write no rows."""
