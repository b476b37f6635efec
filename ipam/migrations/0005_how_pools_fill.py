"""How pools fill and grow: samples, policies, further blocks and their return, on their tables."""

import django.core.validators
import django.db.models.deletion
import ipam.models.pools
import ispops.db
from django.conf import settings
from django.db import migrations, models

# The table of `ipam.transitions.BLOCK`. A decision, what was carved and when it was confirmed are
# written once; what is over stays as it was, but for the note that a person has seen it.
BLOCK_ON_ITS_TABLE = """
CREATE FUNCTION ipam_block_request_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    may_move text[] := ARRAY['next_attempt_at', 'attempts', 'leased_until', 'last_error',
        'noticed_at', 'reclaimed'];
    follows jsonb := '{"open": ["asked", "granted", "refused", "withdrawn"],
        "asked": ["granted", "refused", "withdrawn"], "granted": ["carved", "refused"],
        "carved": ["pushed", "parked"], "pushed": ["confirmed", "parked"], "parked": ["carved"]}';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state IN ('confirmed', 'refused', 'withdrawn') THEN
            may_move := CASE WHEN OLD.seen_at IS NULL THEN ARRAY['seen_at'] ELSE '{}' END;
        ELSIF NEW.state <> OLD.state AND follows -> OLD.state ? NEW.state THEN
            may_move := may_move || ARRAY['state'] || CASE
                WHEN NEW.state = 'carved' AND OLD.state = 'granted' THEN ARRAY['made_id']
                WHEN NEW.state = 'confirmed' THEN ARRAY['confirmed_at']
                WHEN NEW.state IN ('granted', 'refused', 'withdrawn') THEN ARRAY['decided_at',
                    'decided_by', 'decided_by_user_id', 'reason', 'length', 'help', 'seen_at']
                ELSE '{}' END;
        END IF;
        IF to_jsonb(NEW) - may_move = to_jsonb(OLD) - may_move THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'block request % is %: % refused', OLD.id, OLD.state, lower(TG_OP)
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER moves BEFORE UPDATE OR DELETE ON ipam_blockrequest
FOR EACH ROW EXECUTE FUNCTION ipam_block_request_moves();
"""

DROP_BLOCK_ON_ITS_TABLE = """
DROP TRIGGER moves ON ipam_blockrequest;
DROP FUNCTION ipam_block_request_moves();
"""

# The table of `ipam.transitions.RETURN`.
RETURN_ON_ITS_TABLE = """
CREATE FUNCTION ipam_block_return_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    may_move text[] := ARRAY['next_attempt_at', 'attempts', 'leased_until', 'last_error'];
    follows jsonb := '{"draining": ["removed", "kept", "parked"],
        "removed": ["returned", "parked"], "parked": ["draining"]}';
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state NOT IN ('returned', 'kept') THEN
        IF NEW.state <> OLD.state AND follows -> OLD.state ? NEW.state THEN
            may_move := may_move || ARRAY['state', 'ended_at'];
        END IF;
        IF to_jsonb(NEW) - may_move = to_jsonb(OLD) - may_move THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'block return % is %: % refused', OLD.id, OLD.state, lower(TG_OP)
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER moves BEFORE UPDATE OR DELETE ON ipam_blockreturn
FOR EACH ROW EXECUTE FUNCTION ipam_block_return_moves();
"""

DROP_RETURN_ON_ITS_TABLE = """
DROP TRIGGER moves ON ipam_blockreturn;
DROP FUNCTION ipam_block_return_moves();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('ipam', '0004_address_servers_that_run'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='BlockRequest',
            fields=[
                ('next_attempt_at', models.DateTimeField(blank=True, null=True)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('leased_until', models.DateTimeField(blank=True, null=True)),
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('reference', models.CharField(blank=True, default='', max_length=80)),
                ('cause', models.CharField(max_length=300)),
                ('state', models.CharField(choices=[('open', 'Being looked into'), ('asked', 'Waiting for a decision'), ('granted', 'Granted'), ('carved', 'Cut from the parent'), ('pushed', 'Told to the server'), ('confirmed', 'In use'), ('parked', 'Stuck'), ('refused', 'Refused'), ('withdrawn', 'Not needed any more')], default='open', max_length=9)),
                ('asked_at', models.DateTimeField()),
                ('used', models.BigIntegerField()),
                ('total', models.BigIntegerField()),
                ('growth_a_day', models.DecimalField(decimal_places=3, max_digits=22, null=True)),
                ('days_left', models.DecimalField(decimal_places=2, max_digits=8, null=True)),
                ('length', models.PositiveSmallIntegerField()),
                ('noticed_at', models.DateTimeField(blank=True, null=True)),
                ('reclaimed', models.PositiveIntegerField(default=0)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by', models.CharField(blank=True, choices=[('policy', "The pool's policy"), ('csr', 'A CSR')], default='', max_length=6)),
                ('reason', models.CharField(blank=True, default='', max_length=500)),
                ('help', models.JSONField(blank=True, default=list)),
                ('confirmed_at', models.DateTimeField(blank=True, null=True)),
                ('seen_at', models.DateTimeField(blank=True, null=True)),
                ('last_error', models.CharField(blank=True, default='', max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name='BlockReturn',
            fields=[
                ('next_attempt_at', models.DateTimeField(blank=True, null=True)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('leased_until', models.DateTimeField(blank=True, null=True)),
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('network', ipam.models.pools.NetworkField()),
                ('state', models.CharField(choices=[('draining', 'Gives no new leases'), ('removed', 'Taken from the server'), ('returned', 'Back at the parent'), ('parked', 'Stuck'), ('kept', 'Kept after all')], default='draining', max_length=8)),
                ('cause', models.CharField(max_length=300)),
                ('started_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('last_error', models.CharField(blank=True, default='', max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name='PoolPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('threshold_percent', models.PositiveSmallIntegerField(default=85, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)])),
                ('least_days', models.PositiveSmallIntegerField(blank=True, default=14, null=True)),
                ('decision', models.CharField(choices=[('automatic', 'Automatic'), ('csr', 'A CSR decides')], default='csr', max_length=9)),
                ('largest_automatic', models.PositiveBigIntegerField(default=1024)),
                ('horizon_days', models.PositiveSmallIntegerField(default=90, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)])),
                ('low_water_percent', models.PositiveSmallIntegerField(default=40, validators=[django.core.validators.MaxValueValidator(99)])),
                ('unused_days', models.PositiveSmallIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1)])),
                ('stale_hours', models.PositiveSmallIntegerField(blank=True, default=None, null=True, validators=[django.core.validators.MinValueValidator(1)])),
                ('lines_per_address', models.DecimalField(blank=True, decimal_places=2, max_digits=6, null=True, validators=[django.core.validators.MinValueValidator(1)])),
            ],
            options={
                'verbose_name_plural': 'pool policies',
            },
        ),
        migrations.CreateModel(
            name='PoolReport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('assigned', models.BigIntegerField(validators=[django.core.validators.MinValueValidator(0)])),
                ('declined', models.BigIntegerField(default=0, validators=[django.core.validators.MinValueValidator(0)])),
                ('reported_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='PoolSample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('grain', models.CharField(choices=[('moment', 'Moment'), ('hour', 'Hour'), ('day', 'Day')], max_length=6)),
                ('starts_at', models.DateTimeField()),
                ('total', models.BigIntegerField()),
                ('held', models.BigIntegerField()),
                ('resting', models.BigIntegerField()),
                ('peak', models.BigIntegerField()),
                ('lines', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.AddField(
            model_name='addressholder',
            name='pool',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ipam.pool'),
        ),
        migrations.AddField(
            model_name='pool',
            name='grown_from',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='further', to='ipam.pool'),
        ),
        migrations.AddField(
            model_name='pool',
            name='state',
            field=models.CharField(choices=[('pending', 'Not yet at the server'), ('active', 'In use'), ('draining', 'Gives no new leases'), ('returned', 'Given back')], default='active', max_length=8),
        ),
        migrations.AlterField(
            model_name='pool',
            name='block',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='pool', to='ipam.block'),
        ),
        migrations.AddConstraint(
            model_name='pool',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('block__isnull', True), ('state', 'returned')), models.Q(models.Q(('state', 'returned'), _negated=True), ('block__isnull', False)), _connector='OR'), name='only_a_returned_pool_has_no_block'),
        ),
        migrations.AddField(
            model_name='blockrequest',
            name='asked_by_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='blockrequest',
            name='decided_by_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='blockrequest',
            name='made',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='made_for', to='ipam.pool'),
        ),
        migrations.AddField(
            model_name='blockrequest',
            name='pool',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='block_requests', to='ipam.pool'),
        ),
        migrations.AddField(
            model_name='blockrequest',
            name='server',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ipam.addressserver'),
        ),
        migrations.AddField(
            model_name='blockreturn',
            name='pool',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='returns', to='ipam.pool'),
        ),
        migrations.AddField(
            model_name='poolpolicy',
            name='pool',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='policy', to='ipam.pool'),
        ),
        migrations.AddField(
            model_name='poolreport',
            name='pool',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='report', to='ipam.pool'),
        ),
        migrations.AddField(
            model_name='poolsample',
            name='pool',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='samples', to='ipam.pool'),
        ),
        migrations.AddIndex(
            model_name='blockrequest',
            index=models.Index(fields=['pool', '-asked_at'], name='block_requests_of_a_pool'),
        ),
        migrations.AddIndex(
            model_name='blockrequest',
            index=models.Index(condition=models.Q(('next_attempt_at__isnull', False)), fields=['next_attempt_at'], name='block_requests_due'),
        ),
        migrations.AddConstraint(
            model_name='blockrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('open', 'asked', 'granted', 'carved', 'pushed', 'parked'))), fields=('pool',), name='one_open_block_request_a_pool'),
        ),
        migrations.AddConstraint(
            model_name='blockrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('reference', ''), _negated=True), fields=('server', 'reference'), name='one_block_request_a_reference'),
        ),
        migrations.AddConstraint(
            model_name='blockrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('made__isnull', False), ('state__in', ('carved', 'pushed', 'confirmed', 'parked'))), models.Q(models.Q(('state__in', ('carved', 'pushed', 'confirmed', 'parked')), _negated=True), ('made__isnull', True)), _connector='OR'), name='carved_request_names_its_pool'),
        ),
        migrations.AddIndex(
            model_name='blockreturn',
            index=models.Index(condition=models.Q(('next_attempt_at__isnull', False)), fields=['next_attempt_at'], name='block_returns_due'),
        ),
        migrations.AddConstraint(
            model_name='blockreturn',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('draining', 'removed', 'parked'))), fields=('pool',), name='one_open_return_a_pool'),
        ),
        migrations.AddConstraint(
            model_name='blockreturn',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', False), ('state__in', ('returned', 'kept'))), models.Q(models.Q(('state__in', ('returned', 'kept')), _negated=True), ('ended_at__isnull', True)), _connector='OR'), name='ended_return_says_when'),
        ),
        migrations.AddConstraint(
            model_name='poolpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('threshold_percent__range', (1, 100)), ('low_water_percent__lt', models.F('threshold_percent'))), name='low_water_is_under_the_threshold'),
        ),
        migrations.AddIndex(
            model_name='poolsample',
            index=models.Index(fields=['grain', 'starts_at'], name='samples_by_age'),
        ),
        migrations.AddConstraint(
            model_name='poolsample',
            constraint=models.UniqueConstraint(fields=('pool', 'grain', 'starts_at'), name='one_sample_a_span'),
        ),
        migrations.RunSQL(BLOCK_ON_ITS_TABLE, DROP_BLOCK_ON_ITS_TABLE),
        migrations.RunSQL(RETURN_ON_ITS_TABLE, DROP_RETURN_ON_ITS_TABLE),
    ]
