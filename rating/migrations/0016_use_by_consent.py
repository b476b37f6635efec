"""Holding adds up at one moment; nothing is used after its consent was withdrawn."""

from django.db import migrations


# What is charged and what is held are read at one moment, or a use in between would be in neither.
HOLDS_WITHIN_LIMITS = """
CREATE OR REPLACE FUNCTION rating_holds_within_limits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    spent bigint;
    standing rating_standingconsent;
BEGIN
    SELECT spending_limit INTO most FROM parties_subscriber WHERE id = NEW.subscriber_id
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
    SELECT NEW.amount + COALESCE((
        SELECT sum(amount_net + amount_tax) FROM rating_charge
         WHERE subscriber_id = NEW.subscriber_id AND bsp_id IS NOT NULL
           AND period_start >= NEW.period_start AND period_start < NEW.period_end
    ), 0) + COALESCE((
        SELECT sum(amount - used_amount) FROM rating_reservation
         WHERE subscriber_id = NEW.subscriber_id AND released_at IS NULL
           AND held_until > NEW.held_at
    ), 0) INTO spent;
    IF spent > most THEN
        RAISE EXCEPTION 'reservation % passes the spending limit', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""

HOLDS_BEFORE = """
CREATE OR REPLACE FUNCTION rating_holds_within_limits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    spent bigint;
    standing rating_standingconsent;
BEGIN
    SELECT spending_limit INTO most FROM parties_subscriber WHERE id = NEW.subscriber_id
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

# Using more of a reservation holds the account and the consent, and needs both in good order.
RESERVATION_STATES = """
CREATE OR REPLACE FUNCTION rating_reservation_states() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    consented boolean;
BEGIN
    IF TG_OP = 'DELETE' OR OLD.released_at IS NOT NULL OR NEW.used_net < OLD.used_net
       OR NEW.used_amount < OLD.used_amount
       OR (OLD.subscriber_id, OLD.partner_id, OLD.offering_id, OLD.standing_id, OLD.net, OLD.amount,
           OLD.units, OLD.unit_net, OLD.period_start, OLD.period_end, OLD.month_start, OLD.held_at,
           OLD.held_until, OLD.idempotency_key)
          IS DISTINCT FROM
          (NEW.subscriber_id, NEW.partner_id, NEW.offering_id, NEW.standing_id, NEW.net, NEW.amount,
           NEW.units, NEW.unit_net, NEW.period_start, NEW.period_end, NEW.month_start, NEW.held_at,
           NEW.held_until, NEW.idempotency_key)
    THEN
        RAISE EXCEPTION 'what was held or released stays' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.used_amount > OLD.used_amount OR NEW.used_net > OLD.used_net THEN
        SELECT account.standing = 'good' AND standing.ended_at IS NULL INTO consented
          FROM parties_subscriber account, rating_standingconsent standing
         WHERE account.id = NEW.subscriber_id AND standing.id = NEW.standing_id
           FOR NO KEY UPDATE;
        IF NOT consented THEN
            RAISE EXCEPTION 'nothing of reservation % may be used any more', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
"""

STATES_BEFORE = """
CREATE OR REPLACE FUNCTION rating_reservation_states() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.released_at IS NOT NULL OR NEW.used_net < OLD.used_net
       OR NEW.used_amount < OLD.used_amount
       OR (OLD.subscriber_id, OLD.partner_id, OLD.offering_id, OLD.standing_id, OLD.net, OLD.amount,
           OLD.units, OLD.unit_net, OLD.period_start, OLD.period_end, OLD.month_start, OLD.held_at,
           OLD.held_until, OLD.idempotency_key)
          IS DISTINCT FROM
          (NEW.subscriber_id, NEW.partner_id, NEW.offering_id, NEW.standing_id, NEW.net, NEW.amount,
           NEW.units, NEW.unit_net, NEW.period_start, NEW.period_end, NEW.month_start, NEW.held_at,
           NEW.held_until, NEW.idempotency_key)
    THEN
        RAISE EXCEPTION 'what was held or released stays' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('rating', '0015_one_look_at_a_time'),
    ]

    operations = [
        migrations.RunSQL(HOLDS_WITHIN_LIMITS, HOLDS_BEFORE),
        migrations.RunSQL(RESERVATION_STATES, STATES_BEFORE),
    ]
