"""Usage that was stored and rated before, in its new form."""

from collections import defaultdict

from django.conf import settings
from django.db import migrations

from ispops.periods import billing_period

# The new id begins with the second of receipt.
FACTS = """
SELECT rating_make_month(month)
  FROM (SELECT DISTINCT date_trunc('month', received_at) AS month FROM rating_oldusage) months;
ALTER TABLE rating_oldusage ADD new_id bigint;
UPDATE rating_oldusage SET new_id = extract(epoch FROM date_trunc('second', received_at))::bigint << 30
       | (id & 1073741823);
INSERT INTO rating_usage (id, source, event_id, subscriber_ref, product_ref, subscriber_id,
       service_id, offering_id, started_at, ended_at, quantity, unit, attributes, received_at,
       error_code, error)
SELECT new_id, source, event_id, subscriber_ref, product_ref, subscriber_id, service_id,
       offering_id, started_at, ended_at, quantity, unit, attributes, received_at, error_code, error
  FROM rating_oldusage;
INSERT INTO rating_usagekey (digest, content, usage_id)
SELECT encode(substr(sha256(convert_to(source, 'UTF8') || '\\x00' || convert_to(event_id, 'UTF8')), 1, 16), 'hex')::uuid,
       substr(fingerprint, 1, 32)::uuid, new_id
  FROM rating_oldusage;
INSERT INTO rating_waitingusage (first, last, lane)
SELECT new_id, new_id, ('x' || right(subscriber_id::text, 1))::bit(4)::int
  FROM rating_oldusage WHERE state = 'received';
INSERT INTO rating_ratinglane (id) SELECT DISTINCT lane FROM rating_waitingusage;
"""
PRICES = """
INSERT INTO rating_usageclosing (service_id, price_id, period_start, part, whole, closed_at)
SELECT service_id, price_id, period_start, closed_part, closed_whole, now()
  FROM rating_oldcounter WHERE closed_whole IS NOT NULL;
INSERT INTO rating_usedprice (price_id) SELECT DISTINCT price_id FROM rating_oldcounter;
"""
CHARGES = """
SELECT charge.id, old.new_id, account.billing_anchor_day, charge.service_id, charge.price_id,
       charge.period_start, charge.quantity,
       CASE WHEN charge.bundle_id IS NULL THEN charge.service_id
            ELSE COALESCE(service.line_id, service.id) END
  FROM rating_charge charge
  JOIN rating_oldusage old ON charge.cause = 'usage:' || old.id
  JOIN parties_subscriber account ON account.id = charge.subscriber_id
  JOIN provisioning_service service ON service.id = charge.service_id
 ORDER BY charge.id
"""
STEP = """
INSERT INTO rating_ratedusage (usage_id, subscriber_id, service_id, offering_id, price_id,
       period_start, step, started_at, quantity, units_after, amount_net, isp_share, bsp_share,
       network_provider_share, amount_tax, bsp_id, network_provider_id, explanation, rated_at)
SELECT %(use)s, subscriber_id, %(meter)s, offering_id, price_id, %(start)s, %(step)s, period_start,
       quantity, %(units)s, amount_net, isp_share, bsp_share, network_provider_share, amount_tax,
       bsp_id, network_provider_id, explanation, charged_at
  FROM rating_charge WHERE id = %(charge)s
"""
STEPPED = """
UPDATE rating_charge SET service_id = %(meter)s, period_start = %(start)s, period_end = %(end)s,
       step_before = %(step)s - 1, step_after = %(step)s WHERE id = %(charge)s
"""
# The newest step stands where the counter stood, in all that it counted.
NEWEST = """
UPDATE rating_ratedusage step
   SET units_after = old.quantity + old.band_1 + old.band_2 + old.band_3, band_1 = old.band_1,
       band_2 = old.band_2, band_3 = old.band_3, events_after = old.events_amount
  FROM rating_oldcounter old
 WHERE (step.service_id, step.price_id, step.period_start)
       = (old.service_id, old.price_id, old.period_start)
   AND NOT EXISTS (
       SELECT FROM rating_ratedusage later
        WHERE (later.service_id, later.price_id, later.period_start)
              = (step.service_id, step.price_id, step.period_start) AND later.step > step.step)
"""


def keep_rated_usage(apps, schema_editor):
    """Make each charge for one use a step of its counter, and a charge of that step."""
    steps = defaultdict(int)
    units = defaultdict(int)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(CHARGES)
        rows = cursor.fetchall()
        for table in ("rating_charge", "rating_ratedusage"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        for charge, use, day, _, price, started_at, quantity, meter in rows:
            period = billing_period(started_at, anchor_day=day, zone=settings.BILLING_TIME_ZONE)
            counter = (meter, price, period.start)
            steps[counter] += 1
            units[counter] += quantity
            step = {
                "charge": charge, "use": use, "meter": meter, "start": period.start,
                "end": period.end, "step": steps[counter], "units": units[counter],
            }  # fmt: skip
            cursor.execute(STEP, step)
            cursor.execute(STEPPED, step)
        cursor.execute(NEWEST)
        # What waits to be checked until the commit would keep the table from being altered.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("rating_charge", "rating_ratedusage"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER append_only")
        cursor.execute("DROP TABLE rating_oldusage, rating_oldcounter")


class Migration(migrations.Migration):
    dependencies = [("rating", "0009_usage_by_the_million")]

    operations = [
        migrations.RunSQL(FACTS),
        migrations.RunSQL(PRICES),
        migrations.RunPython(keep_rated_usage),
    ]
