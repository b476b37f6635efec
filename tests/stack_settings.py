"""The settings of `make run`, with what only costs time made short.

A password is compared at once, static files are not compressed, and with QUICK_SWEEPS whatever
waits for a sweep waits a second or three.
"""

import os

from ispops.settings import *  # noqa: F403
from ispops.settings import CELERY_BEAT_SCHEDULE as USUAL
from ispops.settings import STORAGES as USUAL_STORAGES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = USUAL_STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
}
if os.environ.get("QUICK_SWEEPS"):
    CELERY_BEAT_SCHEDULE = {
        name: sweep | {"schedule": sweep["schedule"] / 10 if sweep["schedule"] == 30.0 else 1.0}
        if sweep["schedule"] in (2.0, 5.0, 30.0)
        else sweep
        for name, sweep in USUAL.items()
    }
