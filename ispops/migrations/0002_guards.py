"""The function behind every append-only table, and the guard of the event log."""

from django.db import migrations

from ispops.db import append_only

# The arguments are the columns that may be written once, from NULL to a value.
REFUSE_CHANGE = """
CREATE FUNCTION ispops_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := to_jsonb(OLD);
    new_row jsonb;
    written text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        new_row := to_jsonb(NEW);
        FOREACH written IN ARRAY COALESCE(TG_ARGV::text[], '{}') LOOP
            IF old_row -> written = 'null'::jsonb THEN
                old_row := old_row - written;
                new_row := new_row - written;
            END IF;
        END LOOP;
        IF new_row = old_row THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'restrict_violation';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("ispops", "0001_initial")]

    operations = [
        migrations.RunSQL(REFUSE_CHANGE, "DROP FUNCTION ispops_refuse_change()"),
        append_only("ispops_event"),
    ]
