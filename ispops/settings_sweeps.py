"""The settings of Celery's clock: what is looked for, and how often."""

import os
from datetime import timedelta

from celery.schedules import crontab

# How long accounting messages are kept as they came, at least: for questions about what was
# counted. Use, sessions and the history of addresses are kept on their own.
ACCOUNTING_KEPT = timedelta(days=int(os.environ.get("ACCOUNTING_KEPT_DAYS", "180")))

# Every sweep looks for rows that are overdue, so that a lost message only costs its interval.
CELERY_BEAT_SCHEDULE = {
    "heartbeat": {"task": "ispops.tasks.heartbeat", "schedule": 10.0},
    "deliver-events": {"task": "ispops.tasks.deliver_due_events", "schedule": 5.0},
    "ask-checkers": {"task": "ispops.parties.tasks.ask_due_checkers", "schedule": 5.0},
    "deliver-webhooks": {"task": "ispops.parties.tasks.deliver_due_webhooks", "schedule": 5.0},
    "send-notices": {"task": "ispops.notices.tasks.send_due_notices", "schedule": 5.0},
    "qualify-files": {"task": "qualification.tasks.qualify_due_files", "schedule": 5.0},
    "ask-providers": {"task": "qualification.tasks.ask_due_providers", "schedule": 2.0},
    "collect-files": {"task": "qualification.tasks.collect_provider_files", "schedule": 5.0},
    "import-lists": {"task": "qualification.tasks.import_due_lists", "schedule": 5.0},
    "deliver-by-api": {"task": "provisioning.tasks.deliver_due", "schedule": 2.0},
    "run-order-tasks": {"task": "provisioning.tasks.run_due_tasks", "schedule": 5.0},
    "end-boosts": {"task": "provisioning.tasks.end_boosts", "schedule": 5.0},
    "end-slowdowns": {"task": "provisioning.tasks.end_slowdowns", "schedule": 5.0},
    "mark-late-tasks": {"task": "provisioning.tasks.mark_late_tasks", "schedule": 30.0},
    "tend-registrations": {"task": "provisioning.tasks.tend_registrations", "schedule": 30.0},
    "follow-sessions": {"task": "provisioning.tasks.follow_sessions", "schedule": 2.0},
    "steer-sessions": {"task": "provisioning.tasks.steer_sessions", "schedule": 2.0},
    "sync-reservations": {"task": "provisioning.tasks.sync_reservations", "schedule": 5.0},
    "follow-leases": {"task": "provisioning.tasks.follow_leases", "schedule": 5.0},
    "sync-equipment": {"task": "provisioning.tasks.sync_equipment", "schedule": 5.0},
    "close-stale-sessions": {"task": "provisioning.tasks.close_stale_sessions", "schedule": 30.0},
    "read-accounting": {"task": "provisioning.tasks.read_accounting_inbox", "schedule": 2.0},
    "tend-accounting": {"task": "provisioning.tasks.tend_accounting", "schedule": 1800.0},
    "meter-accounting": {"task": "rating.tasks.meter_accounting", "schedule": 5.0},
    "read-usage-files": {"task": "rating.tasks.read_due_usage_files", "schedule": 5.0},
    "delete-usage-files": {"task": "rating.tasks.delete_old_usage_files", "schedule": 3600.0},
    "retry-rating-errors": {"task": "rating.tasks.retry_rating_errors", "schedule": 60.0},
    "rate-usage": {"task": "rating.tasks.rate_stored_usage", "schedule": 5.0},
    "watch-usage": {"task": "rating.tasks.watch_usage", "schedule": 30.0},
    "post-rated-usage": {
        "task": "rating.tasks.post_rated_usage",
        "schedule": crontab(hour="3", minute="20"),
    },
    "simulate-prices": {"task": "rating.tasks.simulate_due_prices", "schedule": 5.0},
    "expire-purchases": {"task": "rating.tasks.expire_purchases", "schedule": 30.0},
    "expire-addresses": {"task": "ipam.tasks.expire_addresses", "schedule": 30.0},
    "check-pools": {"task": "ipam.tasks.check_pools", "schedule": crontab(hour="4", minute="40")},
    "look-at-waitlist": {"task": "qualification.tasks.look_at_waitlist", "schedule": 30.0},
    "write-to-waitlist": {"task": "qualification.tasks.write_to_waitlist", "schedule": 30.0},
    "refresh-reach": {"task": "qualification.tasks.refresh_reached_cells", "schedule": 3600.0},
    "move-holders": {"task": "ipam.tasks.move_holders", "schedule": 30.0},
    "sample-pools": {"task": "ipam.tasks.sample_pools", "schedule": 300.0},
    "watch-pools": {"task": "ipam.tasks.watch_pools", "schedule": 60.0},
    "grow-pools": {"task": "ipam.tasks.grow_pools", "schedule": 5.0},
    "import-blocks": {"task": "ipam.tasks.read_due_block_imports", "schedule": 5.0},
    "delete-block-files": {"task": "ipam.tasks.delete_old_block_imports", "schedule": 3600.0},
    "write-to-csrs": {"task": "ipam.tasks.write_to_csrs", "schedule": 30.0},
    "expire-requests": {"task": "ipam.tasks.expire_overallocation_requests", "schedule": 60.0},
}
