"""The waitlist is a queue of its own work, and the cells that networks reach are kept."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Those who wait already are looked at anew. Of several entries of one person for one place the
# oldest stays, so that they are told once.
FILL = """
UPDATE qualification_waitlistentry entry
   SET place_key = coalesce('prm_' || replace(premises.id::text, '-', ''), upper(answer.asked_text)),
       postal_code = coalesce(premises.postal_code, ''),
       region = coalesce(premises.region, ''),
       channel = answer.channel,
       next_attempt_at = CASE WHEN entry.notified_at IS NULL THEN now() END
  FROM qualification_servicequalification answer
  LEFT JOIN qualification_premises premises ON premises.id = answer.premises_id
 WHERE answer.id = entry.qualification_id;
UPDATE qualification_waitlistentry entry
   SET withdrawn_at = now(), next_attempt_at = NULL
 WHERE notified_at IS NULL
   AND EXISTS (SELECT 1 FROM qualification_waitlistentry older
                WHERE older.email = entry.email AND older.place_key = entry.place_key
                  AND older.notified_at IS NULL AND older.id < entry.id);
SET CONSTRAINTS ALL IMMEDIATE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ('parties', '0002_guards'),
        ('qualification', '0005_reprints'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ReachedCell',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('h3_res8', models.CharField(max_length=15)),
                ('is_reached', models.BooleanField()),
                ('planned_date', models.DateField(blank=True, null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='waitlistentry',
            name='waits_once_for_an_address',
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='added_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='called_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='channel',
            field=models.CharField(choices=[('portal', 'Portal'), ('client', 'Client software'), ('csr', 'CSR'), ('partner', 'Partner API')], default='', max_length=8),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='consent_version',
            field=models.CharField(default='', max_length=20),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='last_error',
            field=models.CharField(blank=True, default='', max_length=300),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='latest_answer',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='qualification.servicequalification'),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='leased_until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='next_attempt_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='place_key',
            field=models.CharField(default='', max_length=500),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='postal_code',
            field=models.CharField(blank=True, default='', max_length=10),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='region',
            field=models.CharField(blank=True, default='', max_length=2),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name='servicequalification',
            index=models.Index(condition=models.Q(('state__in', ['not_qualified', 'out_of_footprint'])), fields=['asked_at'], name='answers_not_served'),
        ),
        migrations.AddIndex(
            model_name='waitlistentry',
            index=models.Index(condition=models.Q(('notified_at__isnull', True), ('withdrawn_at__isnull', True)), fields=['next_attempt_at'], name='waitlist_due'),
        ),
        migrations.AddIndex(
            model_name='waitlistentry',
            index=models.Index(condition=models.Q(('h3_res8', ''), ('notified_at__isnull', True), ('withdrawn_at__isnull', True)), fields=['postal_code'], name='waitlist_without_a_cell'),
        ),
        migrations.AddConstraint(
            model_name='waitlistentry',
            constraint=models.UniqueConstraint(condition=models.Q(('notified_at__isnull', True), ('withdrawn_at__isnull', True)), fields=('email', 'place_key'), name='waits_once_for_a_place'),
        ),
        migrations.AddConstraint(
            model_name='waitlistentry',
            constraint=models.CheckConstraint(condition=models.Q(('notified_at__isnull', True), ('found__isnull', False), _connector='OR'), name='told_of_an_answer'),
        ),
        migrations.AddConstraint(
            model_name='waitlistentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('notified_at__isnull', True), ('withdrawn_at__isnull', True), _negated=True), ('found__isnull', False), ('next_attempt_at__isnull', False), _connector='OR'), name='nobody_who_waits_is_forgotten'),
        ),
        migrations.AddConstraint(
            model_name='waitlistentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('notified_at__isnull', True), ('withdrawn_at__isnull', True)), ('next_attempt_at__isnull', True), _connector='OR'), name='nothing_to_do_for_a_closed_entry'),
        ),
        migrations.AddField(
            model_name='reachedcell',
            name='provider',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='parties.partner'),
        ),
        migrations.AddConstraint(
            model_name='reachedcell',
            constraint=models.UniqueConstraint(fields=('h3_res8', 'provider'), name='cell_is_reached_once_by_a_network'),
        ),
        migrations.AddConstraint(
            model_name='reachedcell',
            constraint=models.CheckConstraint(condition=models.Q(('is_reached', True), ('planned_date__isnull', False), _connector='OR'), name='cell_is_reached_or_planned'),
        ),
    ]
