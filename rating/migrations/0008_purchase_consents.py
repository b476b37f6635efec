"""Purchases that a partner asks for: none without the subscriber's consent, and each consent once."""

import django.db.models.deletion
import ispops.db
import ispops.money
from django.conf import settings
from django.db import migrations, models

from ispops.db import append_only


# A consent is to a request that waits, by one of the account's own logins, or within the amount
# that a standing consent leaves. Both are held, so that two at once are told apart.
CONSENT = """
CREATE FUNCTION rating_consent_is_given() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER consent_is_given BEFORE INSERT ON rating_purchaseconsent
    FOR EACH ROW EXECUTE FUNCTION rating_consent_is_given();
"""

# What a partner sells by itself is what was agreed to, for whom, on which line.
SOLD_BY_CONSENT = """
CREATE FUNCTION rating_sold_by_consent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'what was agreed to is never changed' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (
        SELECT FROM rating_purchaseconsent consent
          JOIN rating_purchaserequest asked ON asked.id = consent.request_id
          JOIN catalog_productoffering offering ON offering.id = asked.offering_id
         WHERE consent.id = NEW.consent_id AND offering.provider_id = asked.partner_id
           AND (asked.subscriber_id, asked.line_id, asked.offering_id)
             = (NEW.subscriber_id, NEW.line_id, NEW.offering_id)
    ) THEN
        RAISE EXCEPTION 'nobody agreed to purchase %', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER sold_by_consent BEFORE INSERT ON rating_purchase
    FOR EACH ROW WHEN (NEW.channel = 'bsp') EXECUTE FUNCTION rating_sold_by_consent();
CREATE TRIGGER consent_stays BEFORE UPDATE ON rating_purchase
    FOR EACH ROW WHEN ((OLD.channel, OLD.consent_id) IS DISTINCT FROM (NEW.channel, NEW.consent_id))
    EXECUTE FUNCTION rating_sold_by_consent();
"""

REQUEST_STATES = """
CREATE FUNCTION rating_request_states() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'waiting' THEN
        RAISE EXCEPTION 'what was answered stays' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'agreed' AND NOT EXISTS (
        SELECT FROM rating_purchaseconsent WHERE request_id = NEW.id
    ) THEN
        RAISE EXCEPTION 'nobody agreed to request %', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.partner_id, OLD.subscriber_id, OLD.line_id, OLD.offering_id, OLD.words,
        OLD.idempotency_key, OLD.requested_at, OLD.expires_at)
       IS DISTINCT FROM
       (NEW.partner_id, NEW.subscriber_id, NEW.line_id, NEW.offering_id, NEW.words,
        NEW.idempotency_key, NEW.requested_at, NEW.expires_at)
    THEN
        RAISE EXCEPTION 'what was asked for is never changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER request_states BEFORE UPDATE OR DELETE ON rating_purchaserequest
    FOR EACH ROW EXECUTE FUNCTION rating_request_states();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0007_wide_prices'),
        ('parties', '0009_checkers'),
        ('provisioning', '0019_coa_says_when'),
        ('rating', "0007_usage_files"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='PurchaseRequest',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('words', models.CharField(blank=True, default='', max_length=300)),
                ('idempotency_key', models.CharField(max_length=200)),
                ('state', models.CharField(choices=[('waiting', 'Waiting for the subscriber'), ('agreed', 'Agreed'), ('declined', 'Declined'), ('expired', 'Not answered in time'), ('withdrawn', 'Withdrawn by the partner')], default='waiting', max_length=9)),
                ('requested_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('answered_at', models.DateTimeField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, default='', max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name='StandingConsent',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('monthly_limit', ispops.money.AmountField()),
                ('currency', models.CharField(max_length=3)),
                ('shown', models.CharField(max_length=500)),
                ('given_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='PurchaseConsent',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('channel', models.CharField(max_length=8)),
                ('amount', ispops.money.AmountField()),
                ('month_start', models.DateTimeField()),
                ('shown', models.JSONField()),
                ('given_at', models.DateTimeField()),
                ('partner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='parties.partner')),
                ('subscriber', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='purchase_consents', to='parties.subscriber')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.AddField(
            model_name='purchase',
            name='consent',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='purchase', to='rating.purchaseconsent'),
        ),
        migrations.AddConstraint(
            model_name='purchase',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('channel', 'bsp'), ('consent__isnull', False)), models.Q(models.Q(('channel', 'bsp'), _negated=True), ('consent__isnull', True)), _connector='OR'), name='what_a_partner_sells_is_agreed_to'),
        ),
        migrations.AddField(
            model_name='purchaserequest',
            name='line',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='provisioning.service'),
        ),
        migrations.AddField(
            model_name='purchaserequest',
            name='offering',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.productoffering'),
        ),
        migrations.AddField(
            model_name='purchaserequest',
            name='partner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='purchase_requests', to='parties.partner'),
        ),
        migrations.AddField(
            model_name='purchaserequest',
            name='subscriber',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='purchase_requests', to='parties.subscriber'),
        ),
        migrations.AddField(
            model_name='purchaseconsent',
            name='request',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='consent', to='rating.purchaserequest'),
        ),
        migrations.AddField(
            model_name='standingconsent',
            name='ended_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='standingconsent',
            name='given_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='standingconsent',
            name='partner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='standing_consents', to='parties.partner'),
        ),
        migrations.AddField(
            model_name='standingconsent',
            name='subscriber',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='standing_consents', to='parties.subscriber'),
        ),
        migrations.AddField(
            model_name='purchaseconsent',
            name='standing',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='rating.standingconsent'),
        ),
        migrations.AddIndex(
            model_name='purchaserequest',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['expires_at'], name='request_waiting'),
        ),
        migrations.AddConstraint(
            model_name='purchaserequest',
            constraint=models.UniqueConstraint(fields=('partner', 'idempotency_key'), name='purchase_requested_once'),
        ),
        migrations.AddConstraint(
            model_name='purchaserequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('answered_at__isnull', True), ('state', 'waiting')), models.Q(models.Q(('state', 'waiting'), _negated=True), ('answered_at__isnull', False)), _connector='OR'), name='answered_request_says_when'),
        ),
        migrations.AddConstraint(
            model_name='purchaserequest',
            constraint=models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('requested_at'))), name='request_can_be_answered'),
        ),
        migrations.AddConstraint(
            model_name='standingconsent',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('subscriber', 'partner'), name='one_standing_consent_a_partner'),
        ),
        migrations.AddConstraint(
            model_name='standingconsent',
            constraint=models.CheckConstraint(condition=models.Q(('monthly_limit__gt', 0)), name='standing_consent_is_for_some'),
        ),
        migrations.AddIndex(
            model_name='purchaseconsent',
            index=models.Index(fields=['subscriber', 'partner', 'month_start'], name='consent_by_month'),
        ),
        migrations.AddConstraint(
            model_name='purchaseconsent',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('standing__isnull', True), ('user__isnull', False)), models.Q(('standing__isnull', False), ('user__isnull', True)), _connector='OR'), name='consent_is_given_by_somebody'),
        ),
        migrations.AddConstraint(
            model_name='purchaseconsent',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='consent_is_to_an_amount'),
        ),
        append_only("rating_purchaseconsent"),
        append_only("rating_standingconsent", except_columns=["ended_at", "ended_by_id"]),
        migrations.RunSQL(CONSENT, "DROP FUNCTION rating_consent_is_given() CASCADE"),
        migrations.RunSQL(SOLD_BY_CONSENT, "DROP FUNCTION rating_sold_by_consent() CASCADE"),
        migrations.RunSQL(REQUEST_STATES, "DROP FUNCTION rating_request_states() CASCADE"),
    ]
