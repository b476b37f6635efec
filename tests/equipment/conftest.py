"""The small ISP of the tests of DHCP serves here, too."""

from tests.dhcp.conftest import _ground, ada, at, isp, otto

__all__ = ["_ground", "ada", "at", "isp", "otto"]
