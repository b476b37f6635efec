"""`python -m ispops.client`, the same as the command `isp`."""

import sys

from ispops.client.cli import main

sys.exit(main())
