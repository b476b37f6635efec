"""What is held keeps to the limit that a subscriber has set for itself, too."""

from django.db import migrations

HOLDS_WITHIN_LIMITS = """
CREATE OR REPLACE FUNCTION rating_holds_within_limits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    spent bigint;
    standing rating_standingconsent;
BEGIN
    SELECT {limit} INTO most FROM parties_subscriber WHERE id = NEW.subscriber_id
       FOR NO KEY UPDATE;
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
    SELECT COALESCE(sum(amount_net + amount_tax), 0) + NEW.amount INTO spent FROM rating_charge
     WHERE subscriber_id = NEW.subscriber_id AND bsp_id IS NOT NULL
       AND period_start >= NEW.period_start AND period_start < NEW.period_end;
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


class Migration(migrations.Migration):

    dependencies = [
        ('parties', '0010_own_limits'),
        ('rating', '0018_marks_in_place'),
    ]

    operations = [
        # LEAST passes over what is NULL, and is NULL where both are.
        migrations.RunSQL(
            HOLDS_WITHIN_LIMITS.format(limit="LEAST(spending_limit, own_limit)"),
            HOLDS_WITHIN_LIMITS.format(limit="spending_limit"),
        ),
    ]
