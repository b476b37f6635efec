"""Every change of what is sold gives the catalogue a number that it never had before.

The number comes from a sequence, because a sequence does not go back when a transaction does.
"""

from django.db import migrations

WHAT_IS_SOLD = (
    ("catalog_productoffering", "INSERT OR UPDATE OR DELETE"),
    ("catalog_bundlecomponent", "INSERT OR UPDATE OR DELETE"),
    ("catalog_offeringprice", "INSERT OR UPDATE OR DELETE"),
    ("parties_partner", "UPDATE OF code, name, kind, is_on_net, active OR DELETE"),
)

NEW_REVISION = """
CREATE SEQUENCE catalog_revisions;
CREATE FUNCTION catalog_new_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO catalog_cataloguerevision (id, number) VALUES (1, nextval('catalog_revisions'))
        ON CONFLICT (id) DO UPDATE SET number = EXCLUDED.number;
    RETURN NULL;
END $$;
INSERT INTO catalog_cataloguerevision (id, number) VALUES (1, nextval('catalog_revisions'));
"""


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0003_catalogue_revision"),
        ("parties", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(
            NEW_REVISION,
            "DROP FUNCTION catalog_new_revision(); DROP SEQUENCE catalog_revisions;",
        ),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER new_revision AFTER {events} ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION catalog_new_revision()",
                f"DROP TRIGGER new_revision ON {table}",
            )
            for table, events in WHAT_IS_SOLD
        ),
    ]
