"""Accounting messages are not marked any more: what waits to be read stands in ranges of ids."""

from django.db import migrations, models
from django.db.models import F, Q

from ispops.db import append_only

INBOX = "provisioning_accountingrecord"
QUEUE = "provisioning_waitingaccounting"
READERS = {"metering": "metered_at", "sessions": "tracked_at"}
# Ids that follow upon each other become one range. A statement's ids may have gaps, because others
# store messages at the same time, so the range from the least to the greatest would be theirs too.
_RANGES = """
SELECT reader, min(id), max(id)
  FROM (SELECT id, id - row_number() OVER (ORDER BY id) AS island FROM {of}) message
 CROSS JOIN unnest(ARRAY[{readers}]) reader
 GROUP BY reader, island"""


def _queue(of: str, *readers: str) -> str:
    named = ", ".join(f"'{reader}'" for reader in readers)
    return f"INSERT INTO {QUEUE} (reader, first, last) {_RANGES.format(of=of, readers=named)};"


QUEUE_NEW = f"""
CREATE FUNCTION provisioning_queue_accounting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {_queue("came", *READERS)}
    RETURN NULL;
END $$;
CREATE TRIGGER queue_accounting AFTER INSERT ON {INBOX} REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION provisioning_queue_accounting();
"""
QUEUE_NO_MORE = f"""
DROP TRIGGER queue_accounting ON {INBOX};
DROP FUNCTION provisioning_queue_accounting();
"""
# The one lock keeps messages out that would come between the two.
QUEUE_OLD = f"LOCK TABLE {INBOX} IN SHARE ROW EXCLUSIVE MODE;" + "".join(
    _queue(f"(SELECT id FROM {INBOX} WHERE {column} IS NULL) unread", reader)
    for reader, column in READERS.items()
)
MARK_OLD = "".join(
    f"UPDATE {INBOX} SET {column} = received_at WHERE NOT EXISTS (SELECT FROM {QUEUE} "
    f"WHERE reader = '{reader}' AND {INBOX}.id BETWEEN first AND last);"
    for reader, column in READERS.items()
)
BEFORE = append_only(INBOX, except_columns=list(READERS.values()))
NOW = append_only(INBOX)


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0020_slowdowns")]

    operations = [
        migrations.CreateModel(
            name="WaitingAccounting",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reader", models.CharField(choices=[("metering", "Counts what was used"), ("sessions", "Follows who is online")], max_length=10)),
                ("first", models.BigIntegerField()),
                ("last", models.BigIntegerField()),
            ],
            options={
                "verbose_name_plural": "waiting accounting",
                "constraints": [
                    models.UniqueConstraint(fields=["reader", "first"], name="waiting_accounting_once"),
                    models.CheckConstraint(condition=Q(last__gte=F("first")), name="waiting_accounting_is_a_range"),
                ],
            },
        ),
        migrations.RunSQL(QUEUE_OLD, MARK_OLD),
        migrations.RunSQL(QUEUE_NEW, QUEUE_NO_MORE),
        migrations.RunSQL(BEFORE.reverse_sql, BEFORE.sql),
        migrations.RemoveIndex(model_name="accountingrecord", name="accounting_to_meter"),
        migrations.RemoveIndex(model_name="accountingrecord", name="accounting_to_track"),
        migrations.RemoveField(model_name="accountingrecord", name="metered_at"),
        migrations.RemoveField(model_name="accountingrecord", name="tracked_at"),
        NOW,
    ]
