"""A day for each step, what a suspension is for, and the plan that a period was part of."""

import django.core.serializers.json
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Until now no service changed, so each period was of the aggregated plan that it has today.
OF_TODAY = """
UPDATE provisioning_serviceperiod AS span SET bundle_id = service.bundle_id
FROM provisioning_service AS service WHERE service.id = span.service_id
"""
# A line that has an open suspension is not active: whoever lifts one reason leaves the others.
# Looked at when the transaction ends, because both rows are written in it.
SUSPENDED_WHILE_OPEN = """
CREATE FUNCTION provisioning_suspended_while_open() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held uuid := CASE TG_TABLE_NAME WHEN 'provisioning_service'
        THEN (to_jsonb(NEW)->>'id')::uuid ELSE (to_jsonb(NEW)->>'service_id')::uuid END;
BEGIN
    IF EXISTS (
        SELECT 1 FROM provisioning_service service
        JOIN provisioning_servicesuspension suspension ON suspension.service_id = service.id
        WHERE service.id = held AND service.state <> 'suspended' AND suspension.ended_at IS NULL
    ) THEN
        RAISE EXCEPTION 'service % has an open suspension', held USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER suspended_while_open
AFTER INSERT OR UPDATE ON provisioning_servicesuspension
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION provisioning_suspended_while_open();
CREATE CONSTRAINT TRIGGER suspended_while_open
AFTER UPDATE OF state ON provisioning_service
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION provisioning_suspended_while_open();
"""
NOT_GUARDED = """
DROP TRIGGER suspended_while_open ON provisioning_service;
DROP TRIGGER suspended_while_open ON provisioning_servicesuspension;
DROP FUNCTION provisioning_suspended_while_open();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0006_speed_boost'),
        ('parties', '0003_fcc_identity'),
        ('provisioning', '0007_sessions_asked'),
        ('qualification', '0011_waitlist_in_order'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='productorder',
            name='order_rests_on_a_promise',
        ),
        migrations.RemoveConstraint(
            model_name='productorderitem',
            name='added_item_was_promised',
        ),
        migrations.AddField(
            model_name='ordertask',
            name='begins_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='productorder',
            name='asked',
            field=models.JSONField(blank=True, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder),
        ),
        migrations.AddField(
            model_name='productorder',
            name='suspension',
            field=models.CharField(blank=True, choices=[('requested', 'Asked for by the subscriber'), ('non_payment', 'Bills are not paid'), ('abuse', 'Abuse')], default='', max_length=12),
        ),
        migrations.AddField(
            model_name='productorder',
            name='treatment',
            field=models.CharField(blank=True, choices=[('block', 'Not let in'), ('walled_garden', 'Sees only the page that says why')], default='', max_length=14),
        ),
        migrations.AddField(
            model_name='serviceperiod',
            name='bundle',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.productoffering'),
        ),
        migrations.AddConstraint(
            model_name='ordertask',
            constraint=models.CheckConstraint(condition=models.Q(('begins_at__isnull', True), ('next_attempt_at__isnull', True), ('next_attempt_at__gte', models.F('begins_at')), _connector='OR'), name='task_keeps_its_day'),
        ),
        migrations.AddConstraint(
            model_name='productorder',
            constraint=models.CheckConstraint(condition=models.Q(('intent__in', ['change', 'suspend', 'resume', 'cease']), ('qualification__isnull', False), _connector='OR'), name='order_rests_on_a_promise'),
        ),
        migrations.AddConstraint(
            model_name='productorder',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('intent', 'suspend'), models.Q(('suspension', ''), _negated=True), models.Q(('treatment', ''), _negated=True)), models.Q(('intent', 'resume'), ('treatment', ''), models.Q(('suspension', ''), _negated=True)), models.Q(models.Q(('intent__in', ['suspend', 'resume']), _negated=True), ('suspension', ''), ('treatment', '')), _connector='OR'), name='suspension_says_what_for'),
        ),
        migrations.AddConstraint(
            model_name='productorderitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('action__in', ['add', 'modify']), _negated=True), ('offer__isnull', False), _connector='OR'), name='delivered_item_was_promised'),
        ),
        migrations.RunSQL(OF_TODAY, migrations.RunSQL.noop),
        migrations.RunSQL(SUSPENDED_WHILE_OPEN, NOT_GUARDED),
    ]
