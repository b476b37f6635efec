"""Find a Chromium for the browser tests, or install one.

Imports nothing but Playwright, so that `make test` can call it before anything else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The program to start: the system's own, else the one Playwright downloaded, else nothing."""
    for program in PROGRAMS:
        found = shutil.which(program)
        if found:
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.access(path, os.X_OK) else None


def install() -> str | None:
    """Install Chromium by the system's packages when we may, else by Playwright's download."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {
            "stdout": subprocess.DEVNULL,
            "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        }
        subprocess.run(["apt-get", "update", "-q"], check=False, **quiet)
        subprocess.run(["apt-get", "install", "-qy", "chromium"], check=False, **quiet)
        if find():
            return find()
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    return find()


if __name__ == "__main__":
    if not (find() or install()):
        print("There is no Chromium: the browser tests cannot run (install the package chromium).")
        sys.exit(1 if os.environ.get("CI") == "true" else 0)
