"""Python loads this in every process that the tests start: their network is closed, too."""

from tests import network

network.closed().__enter__()
