"""Install the system's servers that some tests need, where that may be done.

Imports nothing of Django, so that `make test` can call it before anything else.
"""

from __future__ import annotations

import os
import sys

from ispops.embedded import CannotStart
from ispops.network import freeradius, kea
from tests.radius import vpn

if __name__ == "__main__":
    try:
        freeradius.require()
    except CannotStart as cannot:
        print(f"The tests of FreeRADIUS cannot run. {cannot}")
        sys.exit(1 if os.environ.get("CI") == "true" else 0)
    try:
        kea.require()
    except CannotStart as cannot:
        print(f"The tests of Kea cannot run. {cannot}")
    if reason := vpn.missing():
        print(f"The test with ocserv and openconnect is left out: {reason}.")
