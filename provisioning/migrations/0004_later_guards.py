"""The order's state table with the day that was asked for; sessions follow the inbox too."""

from importlib import import_module

from django.db import migrations

from ispops.db import append_only

before = import_module("provisioning.migrations.0002_guards")

ORDER = "provisioning_productorder"
# The table of `provisioning.transitions` as it is today; a test holds the two together.
MOVES = (
    "acknowledged>pending acknowledged>in_progress acknowledged>held acknowledged>failed "
    "acknowledged>cancelled "
    "pending>in_progress pending>held pending>completed pending>failed pending>cancelled "
    "in_progress>held in_progress>completed in_progress>partial in_progress>failed "
    "in_progress>cancelled "
    "held>in_progress held>completed held>partial held>failed held>cancelled"
)


def replaced(new, old):
    """Take one guard away and put the other in its place, in both directions."""
    return [
        migrations.RunSQL(old.reverse_sql, old.sql),
        migrations.RunSQL(new.sql, new.reverse_sql),
    ]


INBOX = "provisioning_accountingrecord"


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0003_later_orders_and_sessions")]

    operations = [
        *replaced(before.follow_table(ORDER, MOVES), before.follow_table(ORDER, before.MOVES[ORDER])),
        migrations.RunSQL(
            f"DROP TRIGGER append_only ON {INBOX}",
            append_only(INBOX, except_columns=["metered_at"]).sql,
        ),
        # What came before there was a list of sessions is not followed now.
        migrations.RunSQL(f"UPDATE {INBOX} SET tracked_at = received_at", migrations.RunSQL.noop),
        append_only(INBOX, except_columns=["metered_at", "tracked_at"]),
        append_only("provisioning_sessioncommand"),
    ]
