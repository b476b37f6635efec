"""The Celery application: it runs work sooner; the rows of the database make sure that it runs.

Every setting is a `CELERY_...` of `ispops.settings`.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ispops.settings")

app = Celery("ispops")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
for _sweep in app.conf.beat_schedule.values():
    # The next one does the same: while no worker runs they must not pile up.
    _sweep.setdefault("options", {}).setdefault("expires", _sweep["schedule"])
# Celery's current application is one per thread; without a default, the threads of the web server
# would send their tasks to a broker that nobody configured.
app.set_default()


@worker_ready.connect
def pulse(**_: Any) -> None:
    """Show at once that this worker works, instead of after the first interval."""
    from ispops import jobs, tasks

    jobs.send(tasks.heartbeat)
