"""Visits are made, or in vain; what was made keeps its place in its slot, and going live waits for it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TAKEN = """
CREATE OR REPLACE FUNCTION provisioning_taken_is_booked() RETURNS trigger LANGUAGE plpgsql AS $$
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
        WHERE slot_id = key AND state IN ({states});
    IF counted <> booked THEN
        RAISE EXCEPTION 'taken_is_booked: slot % counts % visits and has %', key, counted, booked
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""
WITHDRAWN = """
CREATE FUNCTION provisioning_withdrawn_takes_none() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'withdrawn_takes_none: nobody comes in slot % any more', NEW.id
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER withdrawn_takes_none BEFORE UPDATE ON provisioning_installslot
    FOR EACH ROW WHEN (OLD.withdrawn_at IS NOT NULL
        AND (NEW.taken > OLD.taken OR NEW.withdrawn_at IS NULL))
    EXECUTE FUNCTION provisioning_withdrawn_takes_none();
"""
FORGET_WITHDRAWN = """
DROP TRIGGER withdrawn_takes_none ON provisioning_installslot;
DROP FUNCTION provisioning_withdrawn_takes_none();
"""
VISIT = "booked>moved booked>cancelled"
TASK = (
    "pending>ready pending>cancelled "
    "ready>awaiting ready>completed ready>fallout ready>cancelled "
    "awaiting>completed awaiting>fallout awaiting>cancelled "
    "fallout>ready fallout>skipped fallout>cancelled "
    "completed>cancelled skipped>cancelled"
)


def follow(table, moves):
    arguments = ", ".join(f"'{move}'" for move in moves.split())
    return (
        f"DROP TRIGGER follow_state_table ON {table};"
        f"CREATE TRIGGER follow_state_table BEFORE UPDATE OF state ON {table} "
        "FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) "
        f"EXECUTE FUNCTION provisioning_refuse_transition({arguments});"
    )


def more(table, moves, added):
    return migrations.RunSQL(follow(table, f"{moves} {added}"), follow(table, moves))


def taken(*states):
    words = ", ".join(f"'{state}'" for state in states)
    return TAKEN.replace("{states}", words)


class Migration(migrations.Migration):

    dependencies = [
        ('parties', '0008_subscriber_checks'),
        ('provisioning', '0016_dhcp_reservations'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='appointment',
            options={'permissions': [('close_appointment', 'Can say what came of a visit')]},
        ),
        migrations.RemoveConstraint(
            model_name='ordertask',
            name='task_awaits_a_service_order',
        ),
        migrations.AddField(
            model_name='appointment',
            name='closed_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='appointment',
            name='failure',
            field=models.CharField(blank=True, choices=[('nobody_home', 'Nobody was at home'), ('not_possible', 'The work was not possible')], default='', max_length=12),
        ),
        migrations.AddField(
            model_name='appointment',
            name='note',
            field=models.CharField(blank=True, default='', max_length=300),
        ),
        migrations.AddField(
            model_name='installslot',
            name='withdrawn_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='appointment',
            name='state',
            field=models.CharField(choices=[('booked', 'Booked'), ('done', 'Done'), ('failed', 'In vain'), ('moved', 'Moved to another time'), ('cancelled', 'Cancelled')], default='booked', max_length=9),
        ),
        migrations.AlterField(
            model_name='taskattempt',
            name='outcome',
            field=models.CharField(blank=True, choices=[('', 'Running'), ('done', 'Done'), ('awaiting', 'Waiting'), ('retry', 'Will be tried again'), ('fallout', 'Needs a person'), ('skipped', 'Skipped'), ('lost', 'Worker lost'), ('cancelled', 'Cancelled'), ('undone', 'Undone')], default='', max_length=12),
        ),
        migrations.AddConstraint(
            model_name='appointment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['done', 'failed']), _negated=True), models.Q(('closed_by__isnull', False), models.Q(('note', ''), _negated=True)), _connector='OR'), name='made_visit_says_by_whom'),
        ),
        migrations.AddConstraint(
            model_name='appointment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'failed'), models.Q(('failure', ''), _negated=True)), models.Q(models.Q(('state', 'failed'), _negated=True), ('failure', '')), _connector='OR'), name='failed_visit_says_why'),
        ),
        migrations.AddConstraint(
            model_name='ordertask',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'awaiting'), _negated=True), ('service_order__isnull', False), ('awaited_check__isnull', False), ('kind', 'install_visit'), _connector='OR'), name='task_awaits_a_service_order'),
        ),
        more("provisioning_appointment", VISIT, "booked>done booked>failed"),
        more("provisioning_ordertask", TASK, "awaiting>skipped"),
        migrations.RunSQL(taken("booked", "done", "failed"), taken("booked")),
        migrations.RunSQL(WITHDRAWN, FORGET_WITHDRAWN),
    ]
