"""Amounts that are held for partners; what is held and spent never passes a limit."""

import django.db.models.deletion
import ispops.db
import ispops.money
from django.db import migrations, models

from ispops.db import append_only


# What was sold by standing consent in a month, what was used of reservations, and what is held.
STANDING_USED = """
CREATE FUNCTION rating_standing_used(
    whose uuid, seller bigint, month timestamptz, moment timestamptz
) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (COALESCE((
        SELECT sum(amount) FROM rating_purchaseconsent
         WHERE subscriber_id = whose AND partner_id = seller AND month_start = month
           AND standing_id IS NOT NULL
    ), 0) + COALESCE((
        SELECT sum(CASE WHEN released_at IS NULL AND held_until > moment THEN amount
                        ELSE used_amount END)
          FROM rating_reservation
         WHERE subscriber_id = whose AND partner_id = seller AND month_start = month
    ), 0))::bigint
$$;
"""

CONSENT = """
CREATE OR REPLACE FUNCTION rating_consent_is_given() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked rating_purchaserequest;
    standing rating_standingconsent;
    used bigint;
BEGIN
    SELECT * INTO asked FROM rating_purchaserequest WHERE id = NEW.request_id FOR NO KEY UPDATE;
    IF asked.state <> 'waiting' OR asked.expires_at <= NEW.given_at
       OR (asked.subscriber_id, asked.partner_id) <> (NEW.subscriber_id, NEW.partner_id)
    THEN
        RAISE EXCEPTION 'request % cannot be agreed to', asked.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.standing_id IS NULL THEN
        IF NOT EXISTS (
            SELECT FROM parties_subscriber_users own
             WHERE own.subscriber_id = NEW.subscriber_id AND own.user_id = NEW.user_id
        ) THEN
            RAISE EXCEPTION 'consent % is not by a login of the account', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    SELECT * INTO standing FROM rating_standingconsent WHERE id = NEW.standing_id
       FOR NO KEY UPDATE;
    used := NEW.amount + rating_standing_used(
        NEW.subscriber_id, NEW.partner_id, NEW.month_start, NEW.given_at
    );
    IF standing.ended_at IS NOT NULL OR used > standing.monthly_limit
       OR (standing.subscriber_id, standing.partner_id) <> (NEW.subscriber_id, NEW.partner_id)
    THEN
        RAISE EXCEPTION 'standing consent % does not cover it', standing.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""

CONSENT_BEFORE = """
CREATE OR REPLACE FUNCTION rating_consent_is_given() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked rating_purchaserequest;
    standing rating_standingconsent;
    used bigint;
BEGIN
    SELECT * INTO asked FROM rating_purchaserequest WHERE id = NEW.request_id FOR NO KEY UPDATE;
    IF asked.state <> 'waiting' OR asked.expires_at <= NEW.given_at
       OR (asked.subscriber_id, asked.partner_id) <> (NEW.subscriber_id, NEW.partner_id)
    THEN
        RAISE EXCEPTION 'request % cannot be agreed to', asked.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.standing_id IS NULL THEN
        IF NOT EXISTS (
            SELECT FROM parties_subscriber_users own
             WHERE own.subscriber_id = NEW.subscriber_id AND own.user_id = NEW.user_id
        ) THEN
            RAISE EXCEPTION 'consent % is not by a login of the account', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    SELECT * INTO standing FROM rating_standingconsent WHERE id = NEW.standing_id
       FOR NO KEY UPDATE;
    SELECT COALESCE(sum(amount), 0) + NEW.amount INTO used FROM rating_purchaseconsent
     WHERE subscriber_id = NEW.subscriber_id AND partner_id = NEW.partner_id
       AND month_start = NEW.month_start AND standing_id IS NOT NULL;
    IF standing.ended_at IS NOT NULL OR used > standing.monthly_limit
       OR (standing.subscriber_id, standing.partner_id) <> (NEW.subscriber_id, NEW.partner_id)
    THEN
        RAISE EXCEPTION 'standing consent % does not cover it', standing.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""

# Whoever holds more holds the account and the consent, so that two at once are added up.
HOLDS_WITHIN_LIMITS = """
CREATE FUNCTION rating_holds_within_limits() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER holds_within_limits BEFORE INSERT ON rating_reservation
    FOR EACH ROW EXECUTE FUNCTION rating_holds_within_limits();
"""

# What is used only grows, what is released stays so, and the rest never changes.
RESERVATION_STATES = """
CREATE FUNCTION rating_reservation_states() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER reservation_states BEFORE UPDATE OR DELETE ON rating_reservation
    FOR EACH ROW EXECUTE FUNCTION rating_reservation_states();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0009_price_drafts'),
        ('parties', '0009_checkers'),
        ('rating', '0012_simulations'),
    ]

    operations = [
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('idempotency_key', models.CharField(max_length=200)),
                ('currency', models.CharField(max_length=3)),
                ('net', ispops.money.AmountField()),
                ('amount', ispops.money.AmountField()),
                ('used_net', ispops.money.AmountField(default=0)),
                ('used_amount', ispops.money.AmountField(default=0)),
                ('units', models.PositiveBigIntegerField(blank=True, null=True)),
                ('unit_net', ispops.money.AmountField(blank=True, null=True)),
                ('period_start', models.DateTimeField()),
                ('period_end', models.DateTimeField()),
                ('month_start', models.DateTimeField()),
                ('held_at', models.DateTimeField()),
                ('held_until', models.DateTimeField()),
                ('released_at', models.DateTimeField(blank=True, null=True)),
                ('offering', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.productoffering')),
                ('partner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reservations', to='parties.partner')),
                ('standing', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reservations', to='rating.standingconsent')),
                ('subscriber', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reservations', to='parties.subscriber')),
            ],
            options={
                'permissions': [('release_reservation', 'Can release what is held for a partner')],
            },
        ),
        migrations.CreateModel(
            name='ReservationUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('idempotency_key', models.CharField(max_length=200)),
                ('net', ispops.money.AmountField()),
                ('used_at', models.DateTimeField()),
                ('charge', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='rating.charge')),
                ('reservation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='rating.reservation')),
            ],
        ),
        migrations.AddIndex(
            model_name='reservation',
            index=models.Index(condition=models.Q(('released_at__isnull', True)), fields=['subscriber', 'held_until'], name='reservation_live'),
        ),
        migrations.AddIndex(
            model_name='reservation',
            index=models.Index(fields=['standing', 'month_start'], name='reservation_by_month'),
        ),
        migrations.AddConstraint(
            model_name='reservation',
            constraint=models.UniqueConstraint(fields=('partner', 'idempotency_key'), name='reserved_once'),
        ),
        migrations.AddConstraint(
            model_name='reservation',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gte', models.F('net')), ('net__gt', 0), ('used_amount__gte', 0), ('used_net__gte', 0), ('used_amount__lte', models.F('amount')), ('used_net__lte', models.F('net'))), name='no_more_is_used_than_was_held'),
        ),
        migrations.AddConstraint(
            model_name='reservation',
            constraint=models.CheckConstraint(condition=models.Q(('held_until__gt', models.F('held_at'))), name='reservation_lasts_some_time'),
        ),
        migrations.AddConstraint(
            model_name='reservation',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('unit_net__isnull', True), ('units__isnull', True)), models.Q(('unit_net__gt', 0), ('units__gt', 0)), _connector='OR'), name='held_units_have_a_price'),
        ),
        migrations.AddConstraint(
            model_name='reservationuse',
            constraint=models.UniqueConstraint(fields=('reservation', 'idempotency_key'), name='used_once'),
        ),
        migrations.AddConstraint(
            model_name='reservationuse',
            constraint=models.CheckConstraint(condition=models.Q(('net__gt', 0)), name='something_is_used'),
        ),
        append_only("rating_reservationuse"),
        migrations.RunSQL(
            STANDING_USED, "DROP FUNCTION rating_standing_used(uuid, bigint, timestamptz, timestamptz)"
        ),
        migrations.RunSQL(CONSENT, CONSENT_BEFORE),
        migrations.RunSQL(HOLDS_WITHIN_LIMITS, "DROP FUNCTION rating_holds_within_limits() CASCADE"),
        migrations.RunSQL(RESERVATION_STATES, "DROP FUNCTION rating_reservation_states() CASCADE"),
    ]
