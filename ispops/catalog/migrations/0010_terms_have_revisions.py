"""Shares and taxes are part of the catalogue's revision, too: whoever charges keeps all of it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("catalog", "0009_price_drafts")]

    operations = [
        migrations.RunSQL(
            f"CREATE TRIGGER new_revision AFTER INSERT OR UPDATE OR DELETE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION catalog_new_revision()",
            f"DROP TRIGGER new_revision ON {table}",
        )
        for table in ("catalog_settlementterm", "catalog_taxrate")
    ]
