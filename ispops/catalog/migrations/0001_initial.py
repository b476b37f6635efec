import django.db.models.deletion
import ispops.money
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('parties', '0002_guards'),
    ]

    operations = [
        migrations.CreateModel(
            name='ProductOffering',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.SlugField(unique=True)),
                ('name', models.CharField(max_length=120)),
                ('description', models.TextField(blank=True, default='')),
                ('kind', models.CharField(choices=[('access', 'Access plan'), ('bsp', 'Partner product'), ('addon', 'Add-on'), ('bundle', 'Aggregated plan')], max_length=8)),
                ('subscriber_kind', models.CharField(blank=True, choices=[('consumer', 'Consumer'), ('business', 'Business')], default='', max_length=10)),
                ('tax_category', models.SlugField(default='telecom')),
                ('sold_from', models.DateTimeField()),
                ('sold_to', models.DateTimeField(blank=True, null=True)),
                ('technology', models.PositiveSmallIntegerField(blank=True, choices=[(10, 'DSL'), (40, 'Cable'), (50, 'Fiber'), (60, 'Satellite'), (61, 'Low-orbit satellite'), (70, 'Fixed wireless (unlicensed)'), (71, 'Fixed wireless (licensed)'), (72, 'Fixed wireless (licensed by rule)'), (0, 'Other')], null=True)),
                ('download_kbps', models.PositiveBigIntegerField(blank=True, null=True)),
                ('upload_kbps', models.PositiveBigIntegerField(blank=True, null=True)),
                ('needs_download_kbps', models.PositiveBigIntegerField(default=0)),
                ('needs_low_latency', models.BooleanField(default=False)),
                ('addon_type', models.CharField(blank=True, choices=[('extra_address', 'Extra dynamic address'), ('static_address', 'Static address')], default='', max_length=16)),
                ('is_subscription', models.BooleanField(default=False)),
                ('provider', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='offerings', to='parties.partner')),
            ],
        ),
        migrations.CreateModel(
            name='OfferingPrice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('charge', models.CharField(choices=[('one_off', 'One-off'), ('recurring', 'Every billing period'), ('usage', 'By use')], max_length=10)),
                ('name', models.CharField(max_length=120)),
                ('currency', models.CharField(max_length=3)),
                ('amount', ispops.money.AmountField()),
                ('unit', models.CharField(blank=True, default='', max_length=20)),
                ('block_size', models.PositiveBigIntegerField(default=1)),
                ('counts_started_blocks', models.BooleanField(default=False)),
                ('allowance', models.PositiveBigIntegerField(default=0)),
                ('tiers', models.JSONField(blank=True, default=list)),
                ('valid_from', models.DateTimeField()),
                ('valid_to', models.DateTimeField(blank=True, null=True)),
                ('offering', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='prices', to='catalog.productoffering')),
            ],
        ),
        migrations.CreateModel(
            name='BundleComponent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('revenue_weight', models.PositiveIntegerField()),
                ('bundle', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='components', to='catalog.productoffering')),
                ('component', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.productoffering')),
            ],
        ),
        migrations.CreateModel(
            name='AddressEntitlement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('ipv4_addresses', models.PositiveSmallIntegerField(default=1)),
                ('ipv6_prefixes', models.PositiveSmallIntegerField(default=1)),
                ('policy', models.CharField(choices=[('deny', 'Deny'), ('grant_and_charge', 'Grant and charge'), ('ask_subscriber', 'Ask the subscriber'), ('ask_csr', 'Ask a CSR')], default='ask_subscriber', max_length=16)),
                ('most_extra_addresses', models.PositiveSmallIntegerField(default=4)),
                ('most_requests_an_hour', models.PositiveSmallIntegerField(default=10)),
                ('extra_address', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.productoffering')),
                ('offering', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='address_entitlement', to='catalog.productoffering')),
            ],
        ),
        migrations.CreateModel(
            name='SettlementTerm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('bsp', 'BSP share'), ('network_provider', 'Network provider share')], max_length=20)),
                ('basis', models.CharField(choices=[('percent_of_net', 'Percent of the net amount'), ('fixed', 'Fixed amount')], max_length=16)),
                ('percent', models.DecimalField(decimal_places=3, default=0, max_digits=6)),
                ('amount', ispops.money.AmountField(default=0)),
                ('valid_from', models.DateTimeField()),
                ('valid_to', models.DateTimeField(blank=True, null=True)),
                ('offering', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='settlement_terms', to='catalog.productoffering')),
                ('partner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='settlement_terms', to='parties.partner')),
            ],
        ),
        migrations.CreateModel(
            name='TaxRate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('category', models.SlugField()),
                ('percent', models.DecimalField(decimal_places=3, max_digits=6)),
                ('valid_from', models.DateTimeField()),
                ('valid_to', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('percent__range', (0, 100))), name='tax_percent_in_range'), models.CheckConstraint(condition=models.Q(('valid_to__isnull', True), ('valid_to__gt', models.F('valid_from')), _connector='OR'), name='tax_rate_ends_after_it_starts')],
            },
        ),
        migrations.AddConstraint(
            model_name='productoffering',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'access'), _negated=True), models.Q(('download_kbps__gt', 0), ('download_kbps__isnull', False), ('provider__isnull', False), ('technology__isnull', False), ('upload_kbps__gt', 0), ('upload_kbps__isnull', False)), _connector='OR'), name='access_plan_names_its_line'),
        ),
        migrations.AddConstraint(
            model_name='productoffering',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'bsp'), _negated=True), ('provider__isnull', False), _connector='OR'), name='partner_product_names_its_bsp'),
        ),
        migrations.AddConstraint(
            model_name='productoffering',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'addon'), _negated=True), models.Q(('addon_type', ''), _negated=True), _connector='OR'), name='addon_names_its_type'),
        ),
        migrations.AddConstraint(
            model_name='productoffering',
            constraint=models.CheckConstraint(condition=models.Q(('sold_to__isnull', True), ('sold_to__gt', models.F('sold_from')), _connector='OR'), name='offering_ends_after_it_starts'),
        ),
        migrations.AddConstraint(
            model_name='offeringprice',
            constraint=models.CheckConstraint(condition=models.Q(('valid_to__isnull', True), ('valid_to__gt', models.F('valid_from')), _connector='OR'), name='price_ends_after_it_starts'),
        ),
        migrations.AddConstraint(
            model_name='offeringprice',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('charge', 'usage'), _negated=True), models.Q(('unit', ''), _negated=True), _connector='OR'), name='usage_price_names_its_unit'),
        ),
        migrations.AddConstraint(
            model_name='offeringprice',
            constraint=models.CheckConstraint(condition=models.Q(('block_size__gt', 0)), name='price_block_is_positive'),
        ),
        migrations.AddConstraint(
            model_name='offeringprice',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='price_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='bundlecomponent',
            constraint=models.UniqueConstraint(fields=('bundle', 'component'), name='bundle_component_once'),
        ),
        migrations.AddConstraint(
            model_name='bundlecomponent',
            constraint=models.CheckConstraint(condition=models.Q(('bundle', models.F('component')), _negated=True), name='bundle_not_in_itself'),
        ),
        migrations.AddConstraint(
            model_name='addressentitlement',
            constraint=models.CheckConstraint(condition=models.Q(('policy', 'deny'), ('extra_address__isnull', False), _connector='OR'), name='granting_policy_names_its_addon'),
        ),
        migrations.AddConstraint(
            model_name='settlementterm',
            constraint=models.CheckConstraint(condition=models.Q(('percent__range', (0, 100))), name='settlement_percent_in_range'),
        ),
        migrations.AddConstraint(
            model_name='settlementterm',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='settlement_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='settlementterm',
            constraint=models.CheckConstraint(condition=models.Q(('valid_to__isnull', True), ('valid_to__gt', models.F('valid_from')), _connector='OR'), name='settlement_term_ends_after_it_starts'),
        ),
    ]
