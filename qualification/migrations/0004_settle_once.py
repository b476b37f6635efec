"""A pending answer is settled once and stays; coverage says which file ended it; names are kept."""

from django.db import migrations

from ispops.db import append_only

# What may change while an answer is pending, and in the moment in which it is settled.
SETTLE_ONCE = """
CREATE FUNCTION qualification_settle_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    settled text[] := '{state,confidence,remark,lines,settled_at}';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'pending' AND NEW.state <> 'pending' AND NEW.settled_at IS NOT NULL
           AND to_jsonb(NEW) - settled = to_jsonb(OLD) - settled THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'an answer is settled once and never edited: % refused', lower(TG_OP)
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER settle_once BEFORE UPDATE OR DELETE ON qualification_servicequalification
    FOR EACH ROW EXECUTE FUNCTION qualification_settle_once();
"""

NO_SETTLING = """
DROP TRIGGER settle_once ON qualification_servicequalification;
DROP FUNCTION qualification_settle_once();
"""

# Answers that are older than these columns get the names that are in force now.
KEEP_NAMES = """
ALTER TABLE qualification_qualifiedoffer DISABLE TRIGGER append_only;
UPDATE qualification_qualifiedoffer SET offering_name = offering.name
    FROM catalog_productoffering offering WHERE offering.id = offering_id;
UPDATE qualification_qualifiedoffer SET provider_name = partner.name
    FROM parties_partner partner WHERE partner.id = provider_id;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_qualifiedoffer ENABLE TRIGGER append_only;
UPDATE qualification_servicequalification SET address = premises.street
    || CASE WHEN premises.unit = '' THEN '' ELSE ' ' || premises.unit END
    || ', ' || premises.city || ', ' || premises.region || ' ' || premises.postal_code
    FROM qualification_premises premises WHERE premises.id = premises_id;
SET CONSTRAINTS ALL IMMEDIATE;
"""


class Migration(migrations.Migration):
    dependencies = [("qualification", "0003_complete_qualification")]

    operations = [
        append_only("qualification_provideranswer"),
        migrations.RunSQL(
            "DROP TRIGGER append_only ON qualification_servicequalification",
            append_only("qualification_servicequalification").sql,
        ),
        migrations.RunSQL(KEEP_NAMES, migrations.RunSQL.noop),
        migrations.RunSQL(SETTLE_ONCE, NO_SETTLING),
        migrations.RunSQL(
            "DROP TRIGGER append_only ON qualification_coveragearea",
            append_only("qualification_coveragearea", except_columns=["valid_to"]).sql,
        ),
        append_only("qualification_coveragearea", except_columns=["valid_to", "ended_by_id"]),
    ]
