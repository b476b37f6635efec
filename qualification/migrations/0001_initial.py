import django.db.models.deletion
import ispops.db
import ispops.money
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('catalog', '0001_initial'),
        ('parties', '0002_guards'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccessNode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('technology', models.PositiveSmallIntegerField(choices=[(10, 'DSL'), (40, 'Cable'), (50, 'Fiber'), (60, 'Satellite'), (61, 'Low-orbit satellite'), (70, 'Fixed wireless (unlicensed)'), (71, 'Fixed wireless (licensed)'), (72, 'Fixed wireless (licensed by rule)'), (0, 'Other')])),
                ('provider', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='nodes', to='parties.partner')),
            ],
        ),
        migrations.CreateModel(
            name='AccessPort',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('service_ref', models.CharField(blank=True, max_length=40, null=True, unique=True)),
                ('taken_at', models.DateTimeField(blank=True, null=True)),
                ('node', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='ports', to='qualification.accessnode')),
            ],
        ),
        migrations.CreateModel(
            name='Premises',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('location_id', models.CharField(blank=True, max_length=40, null=True, unique=True)),
                ('street', models.CharField(max_length=200)),
                ('unit', models.CharField(blank=True, default='', max_length=40)),
                ('city', models.CharField(max_length=100)),
                ('region', models.CharField(max_length=2)),
                ('postal_code', models.CharField(max_length=10)),
                ('match_key', models.CharField(max_length=300)),
                ('latitude', models.DecimalField(blank=True, decimal_places=6, max_digits=9, null=True)),
                ('longitude', models.DecimalField(blank=True, decimal_places=6, max_digits=9, null=True)),
                ('h3_res8', models.CharField(blank=True, db_index=True, default='', max_length=15)),
                ('source', models.CharField(choices=[('imported', 'From a location list'), ('asked', 'From a request, to be reviewed')], default='imported', max_length=10)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'premises',
                'indexes': [models.Index(fields=['match_key'], name='premises_by_address_prefix', opclasses=['varchar_pattern_ops']), models.Index(fields=['postal_code', 'match_key'], name='premises_by_postal_code', opclasses=['varchar_pattern_ops', 'varchar_pattern_ops'])],
                'constraints': [models.UniqueConstraint(fields=('match_key', 'unit'), name='premises_address_once'), models.CheckConstraint(condition=models.Q(models.Q(('latitude__isnull', True), ('longitude__isnull', True)), models.Q(('latitude__isnull', False), ('latitude__range', (-90, 90)), ('longitude__isnull', False), ('longitude__range', (-180, 180))), _connector='OR'), name='premises_on_earth')],
            },
        ),
        migrations.CreateModel(
            name='CoverageArea',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('technology', models.PositiveSmallIntegerField(choices=[(10, 'DSL'), (40, 'Cable'), (50, 'Fiber'), (60, 'Satellite'), (61, 'Low-orbit satellite'), (70, 'Fixed wireless (unlicensed)'), (71, 'Fixed wireless (licensed)'), (72, 'Fixed wireless (licensed by rule)'), (0, 'Other')])),
                ('h3_res8', models.CharField(blank=True, default='', max_length=15)),
                ('max_download_kbps', models.PositiveBigIntegerField()),
                ('max_upload_kbps', models.PositiveBigIntegerField()),
                ('low_latency', models.BooleanField(default=True)),
                ('install_days', models.PositiveSmallIntegerField(default=7)),
                ('loop_length_m', models.PositiveIntegerField(blank=True, null=True)),
                ('construction_fee', ispops.money.AmountField(default=0)),
                ('construction_days', models.PositiveSmallIntegerField(default=0)),
                ('valid_from', models.DateTimeField()),
                ('valid_to', models.DateTimeField(blank=True, null=True)),
                ('node', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='coverage', to='qualification.accessnode')),
                ('provider', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='coverage', to='parties.partner')),
                ('premises', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='coverage', to='qualification.premises')),
            ],
            options={
                'verbose_name_plural': 'coverage',
            },
        ),
        migrations.CreateModel(
            name='ServiceQualification',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('asked_text', models.CharField(max_length=500)),
                ('channel', models.CharField(choices=[('portal', 'Portal'), ('client', 'Client software'), ('csr', 'CSR'), ('partner', 'Partner API')], max_length=8)),
                ('asker', models.CharField(blank=True, default='', max_length=80)),
                ('subscriber_kind', models.CharField(default='consumer', max_length=10)),
                ('state', models.CharField(choices=[('qualified', 'Qualified'), ('qualified_with_construction', 'Qualified, after construction'), ('not_qualified', 'Not available'), ('choose', 'Several addresses match'), ('out_of_footprint', 'Outside our area')], max_length=30)),
                ('confidence', models.CharField(choices=[('green', 'We know this address'), ('yellow', 'Estimated from places nearby')], default='green', max_length=6)),
                ('remark', models.CharField(blank=True, default='', max_length=300)),
                ('candidates', models.JSONField(default=list)),
                ('asked_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('premises', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='qualifications', to='qualification.premises')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='QualifiedOffer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('eligible', models.BooleanField()),
                ('reason_code', models.CharField(blank=True, default='', max_length=40)),
                ('reason', models.CharField(blank=True, default='', max_length=300)),
                ('technology', models.PositiveSmallIntegerField(choices=[(10, 'DSL'), (40, 'Cable'), (50, 'Fiber'), (60, 'Satellite'), (61, 'Low-orbit satellite'), (70, 'Fixed wireless (unlicensed)'), (71, 'Fixed wireless (licensed)'), (72, 'Fixed wireless (licensed by rule)'), (0, 'Other')], null=True)),
                ('download_kbps', models.PositiveBigIntegerField(null=True)),
                ('upload_kbps', models.PositiveBigIntegerField(null=True)),
                ('install_days', models.PositiveSmallIntegerField(null=True)),
                ('currency', models.CharField(max_length=3)),
                ('one_off_amount', ispops.money.AmountField(default=0)),
                ('recurring_amount', ispops.money.AmountField(default=0)),
                ('construction_fee', ispops.money.AmountField(default=0)),
                ('usage_terms', models.CharField(blank=True, default='', max_length=300)),
                ('coverage', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='qualification.coveragearea')),
                ('offering', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.productoffering')),
                ('provider', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='parties.partner')),
                ('qualification', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='offers', to='qualification.servicequalification')),
            ],
        ),
        migrations.CreateModel(
            name='WaitlistEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(blank=True, default='', max_length=200)),
                ('email', models.EmailField(max_length=254)),
                ('h3_res8', models.CharField(blank=True, db_index=True, default='', max_length=15)),
                ('created_at', models.DateTimeField()),
                ('notified_at', models.DateTimeField(blank=True, null=True)),
                ('qualification', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='waitlist', to='qualification.servicequalification')),
            ],
            options={
                'verbose_name_plural': 'waitlist entries',
            },
        ),
        migrations.AddConstraint(
            model_name='accessnode',
            constraint=models.UniqueConstraint(fields=('provider', 'name'), name='node_name_once'),
        ),
        migrations.AddIndex(
            model_name='accessport',
            index=models.Index(condition=models.Q(('service_ref__isnull', True)), fields=['node', 'number'], name='free_port_by_node'),
        ),
        migrations.AddConstraint(
            model_name='accessport',
            constraint=models.UniqueConstraint(fields=('node', 'number'), name='port_number_once'),
        ),
        migrations.AddConstraint(
            model_name='accessport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('service_ref__isnull', True), ('taken_at__isnull', True)), models.Q(('service_ref__isnull', False), ('taken_at__isnull', False)), _connector='OR'), name='taken_port_names_its_service'),
        ),
        migrations.AddIndex(
            model_name='coveragearea',
            index=models.Index(condition=models.Q(('h3_res8', ''), _negated=True), fields=['h3_res8'], name='coverage_by_cell'),
        ),
        migrations.AddConstraint(
            model_name='coveragearea',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('h3_res8', ''), ('premises__isnull', False)), models.Q(('premises__isnull', True), models.Q(('h3_res8', ''), _negated=True)), _connector='OR'), name='coverage_is_of_a_place_or_a_cell'),
        ),
        migrations.AddConstraint(
            model_name='coveragearea',
            constraint=models.CheckConstraint(condition=models.Q(('valid_to__isnull', True), ('valid_to__gt', models.F('valid_from')), _connector='OR'), name='coverage_ends_after_it_starts'),
        ),
        migrations.AddConstraint(
            model_name='qualifiedoffer',
            constraint=models.UniqueConstraint(fields=('qualification', 'offering'), name='offer_once_in_an_answer'),
        ),
        migrations.AddConstraint(
            model_name='qualifiedoffer',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('eligible', True), ('reason_code', '')), models.Q(('eligible', False), models.Q(('reason_code', ''), _negated=True), models.Q(('reason', ''), _negated=True)), _connector='OR'), name='refused_offer_has_a_reason'),
        ),
        migrations.AddConstraint(
            model_name='waitlistentry',
            constraint=models.UniqueConstraint(fields=('qualification', 'email'), name='waits_once_for_an_address'),
        ),
    ]
