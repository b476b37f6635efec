"""What is given back counts in the billing period of what it was charged for."""

from django.db import migrations

# A refund is a charge of the day on which it is made, for the bills. It makes room in the period in
# which the money was spent, and in no other. It is never of an earlier period than that one, so
# what began earlier than the period need not be read.
SPENT = """
CREATE FUNCTION rating_spent(whose uuid, since timestamptz, until timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT COALESCE(sum(charge.amount_net + charge.amount_tax), 0)::bigint
      FROM rating_charge charge
     CROSS JOIN LATERAL (SELECT COALESCE((
            SELECT corrected.period_start FROM rating_charge corrected
             WHERE corrected.id = COALESCE(charge.corrects_id, charge.reverses_id)
        ), charge.period_start) AS spent_at) counted
     WHERE charge.subscriber_id = whose AND charge.bsp_id IS NOT NULL
       AND charge.period_start >= since
       AND counted.spent_at >= since AND counted.spent_at < until
$$;
"""

HOLDS_WITHIN_LIMITS = """
CREATE OR REPLACE FUNCTION rating_holds_within_limits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    spent bigint;
    standing rating_standingconsent;
BEGIN
    SELECT LEAST(spending_limit, own_limit) INTO most FROM parties_subscriber
     WHERE id = NEW.subscriber_id FOR NO KEY UPDATE;
    SELECT * INTO standing FROM rating_standingconsent WHERE id = NEW.standing_id
       FOR NO KEY UPDATE;
    IF standing.ended_at IS NOT NULL
       OR (standing.subscriber_id, standing.partner_id) <> (NEW.subscriber_id, NEW.partner_id)
       OR NEW.amount + rating_standing_used(
              NEW.subscriber_id, NEW.partner_id, NEW.month_start, NEW.held_at
          ) > standing.monthly_limit
    THEN
        RAISE EXCEPTION 'standing consent % does not cover it', standing.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF most IS NULL THEN
        RETURN NEW;
    END IF;
    SELECT {spent} + NEW.amount INTO spent;
    spent := spent + COALESCE((
        SELECT sum(amount - used_amount) FROM rating_reservation
         WHERE subscriber_id = NEW.subscriber_id AND released_at IS NULL
           AND held_until > NEW.held_at
    ), 0);
    IF spent > most THEN
        RAISE EXCEPTION 'reservation % passes the spending limit', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""

BEFORE = """(
        SELECT COALESCE(sum(amount_net + amount_tax), 0) FROM rating_charge
         WHERE subscriber_id = NEW.subscriber_id AND bsp_id IS NOT NULL
           AND period_start >= NEW.period_start AND period_start < NEW.period_end
    )"""
AFTER = "rating_spent(NEW.subscriber_id, NEW.period_start, NEW.period_end)"


class Migration(migrations.Migration):

    dependencies = [
        ('rating', '0021_closed_in_parts'),
    ]

    operations = [
        migrations.RunSQL(SPENT, "DROP FUNCTION rating_spent(uuid, timestamptz, timestamptz)"),
        migrations.RunSQL(
            HOLDS_WITHIN_LIMITS.format(spent=AFTER), HOLDS_WITHIN_LIMITS.format(spent=BEFORE)
        ),
    ]
