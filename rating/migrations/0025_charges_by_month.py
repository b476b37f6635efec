"""Charges by the month in which they are written; see `rating.charge_months`.

The table becomes the first month of a new one, so no row is copied; what was unique in it is
entered in tables of its own.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Concat, Replace

from ispops.db import append_only, never_overlap, overlapping, same_text

DIGEST = """
CREATE FUNCTION rating_cause_digest(cause text) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT encode(substr(sha256(convert_to(cause, 'UTF8')), 1, 16), 'hex')::uuid
$$;
"""

ENTERED = """
INSERT INTO rating_chargekey (digest, charge_id)
SELECT rating_cause_digest(cause), id FROM rating_charge;
INSERT INTO rating_chargedspan (subject, period_start, period_end)
SELECT COALESCE(extra_address_id, service_id), period_start, period_end
  FROM rating_charge WHERE kind = 'recurring';
"""

# Whoever charges for use enters its key first, to see whether somebody else has: see `posting`.
CHARGED_ONCE = """
CREATE FUNCTION rating_charged_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key uuid := rating_cause_digest(NEW.cause);
BEGIN
    IF NOT EXISTS (SELECT FROM rating_chargekey WHERE digest = key AND charge_id = NEW.id) THEN
        INSERT INTO rating_chargekey (digest, charge_id) VALUES (key, NEW.id);
    END IF;
    IF NEW.kind = 'recurring' AND NEW.service_id IS NOT NULL AND NEW.period_end IS NOT NULL THEN
        INSERT INTO rating_chargedspan (subject, period_start, period_end)
        VALUES (COALESCE(NEW.extra_address_id, NEW.service_id), NEW.period_start, NEW.period_end);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER charged_once BEFORE INSERT ON rating_charge
    FOR EACH ROW EXECUTE FUNCTION rating_charged_once();
"""

# A charge is never deleted, but its month may be detached: then nothing new may refer to it. As with
# a foreign key, one statement may write both.
CHARGE_IS_THERE = """
CREATE FUNCTION rating_charge_is_there() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    named uuid := (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
BEGIN
    IF named IS NOT NULL AND NOT EXISTS (SELECT FROM rating_charge WHERE id = named) THEN
        RAISE EXCEPTION 'there is no charge %', named USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER charge_is_there AFTER INSERT OR UPDATE OF charge_id ON rating_dispute
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_charge_is_there('charge_id');
CREATE CONSTRAINT TRIGGER correction_is_there AFTER INSERT OR UPDATE OF correction_id ON rating_dispute
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_charge_is_there('correction_id');
CREATE CONSTRAINT TRIGGER charge_is_there AFTER INSERT OR UPDATE OF charge_id ON rating_reservationuse
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_charge_is_there('charge_id');
"""

# In a month's trigger the table is that month.
WITHIN_PREPAID = """
CREATE OR REPLACE FUNCTION rating_within_prepaid() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    has record;
    moment timestamptz;
BEGIN
    PERFORM FROM parties_subscriber WHERE id = NEW.subscriber_id AND is_prepaid FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'rating_reservation' THEN
        moment := NEW.held_at;
    ELSE
        moment := NEW.charged_at;
    END IF;
    SELECT * INTO has FROM rating_prepaid(NEW.subscriber_id, moment);
    IF has.charged + has.reserved > has.paid_in THEN
        RAISE EXCEPTION '% passes what is paid ahead', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""

# The end of a month of ids, and of the first month, in which all is that was charged before.
MONTHS = """
CREATE FUNCTION rating_first_charge_id(month timestamp) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(extract(epoch FROM month)::bigint * 1000), 12, '0') || repeat('0', 20))::uuid
$$;
CREATE FUNCTION rating_make_charge_months(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month timestamp;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(5317002);
    LOOP
        SELECT to_timestamp(right(max(part.relname), 7), 'YYYY_MM')::timestamp + interval '1 month'
          INTO month FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
         WHERE inhparent = 'rating_charge'::regclass;
        EXIT WHEN month > moment AT TIME ZONE 'UTC';
        name := 'rating_charge' || to_char(month, '_YYYY_MM');
        EXECUTE format('CREATE TABLE %I (LIKE rating_charge INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE rating_charge ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       name, rating_first_charge_id(month),
                       rating_first_charge_id(month + interval '1 month'));
    END LOOP;
END $$;
"""
BY_MONTH = """
SELECT ispops_partition_by_id(
    'rating_charge', 'rating_charge' || to_char(month, '_YYYY_MM'),
    quote_literal(rating_first_charge_id(month + interval '1 month')))
  FROM date_trunc('month', now() AT TIME ZONE 'UTC') month;
SELECT rating_make_charge_months(now() + interval '3 months');
"""


def no_key(cls=models.ForeignKey, **options):
    """A reference to a charge, whose month may be detached."""
    return cls(
        db_constraint=False, on_delete=django.db.models.deletion.PROTECT, to="rating.charge",
        **options,
    )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("ispops", "0003_partitions"), ("rating", "0024_reservations_by_month")]

    operations = [
        migrations.CreateModel(
            name="ChargeKey",
            fields=[
                ("digest", models.UUIDField(primary_key=True, serialize=False)),
                ("charge_id", models.UUIDField()),
            ],
        ),
        migrations.CreateModel(
            name="ChargedSpan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.UUIDField()),
                ("period_start", models.DateTimeField()),
                ("period_end", models.DateTimeField()),
            ],
        ),
        migrations.RunSQL("ALTER TABLE rating_charge DROP CONSTRAINT a_moment_is_charged_once"),
        never_overlap(
            "rating_chargedspan",
            "a_moment_is_charged_once",
            same_text("subject::text"),
            overlapping("period_start", "period_end"),
        ),
        migrations.RunSQL(DIGEST),
        migrations.RunSQL(ENTERED),
        append_only("rating_chargekey"),
        append_only("rating_chargedspan"),
        migrations.AlterField("charge", "reverses", no_key(db_index=False, null=True, related_name="reversals")),
        migrations.AlterField("charge", "corrects", no_key(db_index=False, null=True, related_name="corrections")),
        migrations.AlterField("dispute", "charge", no_key(related_name="disputes")),
        migrations.AlterField(
            "dispute", "correction",
            no_key(models.OneToOneField, blank=True, null=True, related_name="upholds"),
        ),
        migrations.AlterField("reservationuse", "charge", no_key(models.OneToOneField, related_name="+")),
        migrations.RemoveConstraint("charge", "charged_once"),
        migrations.RemoveConstraint("charge", "reversed_once"),
        migrations.RunSQL("ALTER TABLE rating_chargekey RENAME CONSTRAINT rating_chargekey_pkey TO charged_once"),
        migrations.AddConstraint(
            "charge",
            models.CheckConstraint(
                condition=Q(reverses__isnull=True)
                | Q(
                    cause=Concat(
                        Value("reversal:chg_"),
                        Replace(Cast(F("reverses"), models.CharField()), Value("-"), Value("")),
                    )
                ),
                name="reversed_once",
            ),
        ),
        migrations.AddIndex("charge", models.Index(fields=["cause"], name="charge_by_cause")),
        migrations.AddIndex(
            "charge",
            models.Index(
                condition=Q(reverses__isnull=False), fields=["reverses"], name="charge_by_reversed"
            ),
        ),
        migrations.RunSQL(CHARGED_ONCE),
        migrations.RunSQL(CHARGE_IS_THERE),
        migrations.RunSQL(WITHIN_PREPAID),
        migrations.RunSQL(MONTHS),
        migrations.RunSQL(BY_MONTH),
    ]
