"""What was worded and written stays as it was."""

from django.db import migrations

from ispops.db import append_only

# The columns of a notice that say what was written to whom; its state may change.
WRITTEN = "kind, cause, channel, recipient, subscriber_id, template_id, address, subject, body"


class Migration(migrations.Migration):
    dependencies = [
        ("notices", "0001_initial"),
        ("ispops", "0002_guards"),
    ]

    operations = [
        append_only("notices_noticetemplate"),
        migrations.RunSQL(
            f"CREATE TRIGGER stays_as_written BEFORE UPDATE OF {WRITTEN} ON notices_notice "
            "FOR EACH ROW EXECUTE FUNCTION ispops_refuse_change()",
            "DROP TRIGGER stays_as_written ON notices_notice",
        ),
    ]
