"""The protocols of the network, one file each. None of them writes a row."""
