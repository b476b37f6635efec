"""An ISP with addresses to give, for every test that asks for one."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.ipam.ground import Isp


@pytest.fixture
def isp(db: None) -> "Isp":
    # Models can be imported only after the settings, which come after this file.
    from tests.ipam.ground import an_isp

    return an_isp()
