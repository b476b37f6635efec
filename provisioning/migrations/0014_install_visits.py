"""The calendar of technicians' visits; what is taken of it is the number of visits booked."""

import django.core.validators
import django.db.models.deletion
import ispops.db
from django.conf import settings
from django.db import migrations, models

COUNT_VISITS = """
CREATE FUNCTION provisioning_taken_is_booked() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key uuid;
    booked integer;
    counted integer;
BEGIN
    IF TG_TABLE_NAME = 'provisioning_installslot' THEN
        key := NEW.id;
    ELSE
        key := NEW.slot_id;
    END IF;
    SELECT taken INTO counted FROM provisioning_installslot WHERE id = key;
    SELECT count(*) INTO booked FROM provisioning_appointment
        WHERE slot_id = key AND state = 'booked';
    IF counted <> booked THEN
        RAISE EXCEPTION 'taken_is_booked: slot % counts % visits and has %', key, counted, booked
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION provisioning_visit_keeps_its_slot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'visit_keeps_its_slot: another time is another row'
        USING ERRCODE = 'check_violation';
END $$;
CREATE CONSTRAINT TRIGGER taken_is_booked AFTER INSERT OR UPDATE ON provisioning_appointment
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION provisioning_taken_is_booked();
CREATE CONSTRAINT TRIGGER taken_is_booked AFTER INSERT OR UPDATE ON provisioning_installslot
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION provisioning_taken_is_booked();
CREATE TRIGGER visit_keeps_its_slot BEFORE UPDATE OF slot_id, order_id ON provisioning_appointment
    FOR EACH ROW WHEN (OLD.slot_id <> NEW.slot_id OR OLD.order_id <> NEW.order_id)
    EXECUTE FUNCTION provisioning_visit_keeps_its_slot();
CREATE TRIGGER follow_state_table BEFORE UPDATE OF state ON provisioning_appointment
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION provisioning_refuse_transition('booked>moved', 'booked>cancelled');
"""
FORGET = """
DROP TRIGGER follow_state_table ON provisioning_appointment;
DROP TRIGGER visit_keeps_its_slot ON provisioning_appointment;
DROP TRIGGER taken_is_booked ON provisioning_appointment;
DROP TRIGGER taken_is_booked ON provisioning_installslot;
DROP FUNCTION provisioning_taken_is_booked();
DROP FUNCTION provisioning_visit_keeps_its_slot();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('provisioning', '0013_steps_await_checks'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='InstallSlot',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('area', models.CharField(max_length=110)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('capacity', models.PositiveSmallIntegerField(validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(500)])),
                ('taken', models.PositiveSmallIntegerField(default=0)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('area', 'starts_at', 'ends_at'), name='install_slot_once'), models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='install_slot_takes_time'), models.CheckConstraint(condition=models.Q(('capacity__gte', 1), ('taken__lte', models.F('capacity'))), name='install_slot_not_overbooked')],
            },
        ),
        migrations.CreateModel(
            name='Appointment',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('state', models.CharField(choices=[('booked', 'Booked'), ('moved', 'Moved to another time'), ('cancelled', 'Cancelled')], default='booked', max_length=9)),
                ('booked_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('booked_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='appointments', to='provisioning.productorder')),
                ('slot', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='appointments', to='provisioning.installslot')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'booked')), fields=('order',), name='one_visit_an_order'), models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('state', 'booked')), models.Q(models.Q(('state', 'booked'), _negated=True), ('closed_at__isnull', False)), _connector='OR'), name='closed_visit_says_when')],
            },
        ),
        migrations.RunSQL(COUNT_VISITS, FORGET),
    ]
