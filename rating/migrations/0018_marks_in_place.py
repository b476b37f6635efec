"""A new mark of a session stays on its page and touches no index."""

from django.db import migrations, models
from django.db.models import Q

# Half of each page is left for the next versions of its rows, which PostgreSQL tidies up itself.
ROOM = "ALTER TABLE rating_meteredsession SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)"
NO_ROOM = "ALTER TABLE rating_meteredsession RESET (fillfactor, autovacuum_vacuum_scale_factor)"


class Migration(migrations.Migration):
    dependencies = [
        ("rating", "0017_bundles_of_products"),
        ("provisioning", "0021_accounting_in_ranges"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="meteredsession", name="session_open"),
        migrations.AddIndex(
            model_name="meteredsession",
            index=models.Index(fields=["nas_ip"], condition=Q(ended_at__isnull=True), name="session_open"),
        ),
        migrations.AddIndex(
            model_name="meteredsession",
            index=models.Index(fields=["unique_session_id"], condition=Q(incarnation__gt=0), name="session_again"),
        ),
        migrations.RunSQL(ROOM, NO_ROOM),
    ]
