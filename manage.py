#!/usr/bin/env python
"""Django's command line for ISP Ops."""

import os
import sys
from pathlib import Path

from ispops import embedded


def main() -> None:
    embedded.follow(
        Path(os.environ.get("ISPOPS_DATA_DIR") or Path(__file__).parent / ".data"), os.environ
    )
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ispops.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
