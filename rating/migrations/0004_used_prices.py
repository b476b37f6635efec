"""A price that anything was charged at, or counted at, never changes, not even before it is in
force; packs are never edited; and a counter is closed once."""

from django.db import migrations

from ispops.db import append_only

# The lock waits for whoever is using the price just now: a charge holds the key of its price.
KEPT_ONCE_USED = """
CREATE FUNCTION rating_kept_once_used() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM catalog_offeringprice WHERE id = OLD.id FOR UPDATE;
    IF EXISTS (SELECT FROM rating_usagecounter WHERE price_id = OLD.id)
       OR EXISTS (SELECT FROM rating_charge WHERE price_id = OLD.id)
    THEN
        RAISE EXCEPTION 'price % was used: it is never changed, only ended', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER kept_once_used BEFORE UPDATE ON catalog_offeringprice FOR EACH ROW
    WHEN (OLD.valid_from > now() AND to_jsonb(OLD) - 'valid_to' <> to_jsonb(NEW) - 'valid_to')
    EXECUTE FUNCTION rating_kept_once_used();
"""

CLOSED_ONCE = """
CREATE FUNCTION rating_counter_closed_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'counter % is closed: what it was closed for stays', OLD.id
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER counter_closed_once BEFORE UPDATE ON rating_usagecounter FOR EACH ROW
    WHEN (OLD.closed_whole IS NOT NULL AND (OLD.closed_part, OLD.closed_whole)
          IS DISTINCT FROM (NEW.closed_part, NEW.closed_whole))
    EXECUTE FUNCTION rating_counter_closed_once();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("rating", "0003_packs_and_bands"),
        ("catalog", "0007_wide_prices"),
        ("ispops", "0002_guards"),
    ]

    operations = [
        append_only("rating_usagepack"),
        migrations.RunSQL(KEPT_ONCE_USED, "DROP FUNCTION rating_kept_once_used() CASCADE"),
        migrations.RunSQL(CLOSED_ONCE, "DROP FUNCTION rating_counter_closed_once() CASCADE"),
    ]
