"""The network's own servers beside the application; for development, tests and measurements.

Nothing here imports Django: it is started before the settings can be read.
"""
