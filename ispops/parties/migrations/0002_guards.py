"""Nobody rewrites the audit trail."""

from django.db import migrations

from ispops.db import append_only


class Migration(migrations.Migration):
    dependencies = [("parties", "0001_initial"), ("ispops", "0002_guards")]

    operations = [append_only("parties_auditentry")]
