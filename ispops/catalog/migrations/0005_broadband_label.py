import django.db.models.deletion
import ispops.money
from django.db import migrations, models

from ispops.db import never_overlap, overlapping, same_number


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0004_revision_triggers'),
    ]

    operations = [
        migrations.CreateModel(
            name='BroadbandLabel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tier_name', models.CharField(blank=True, default='', max_length=60)),
                ('typical_download_kbps', models.PositiveBigIntegerField()),
                ('typical_upload_kbps', models.PositiveBigIntegerField()),
                ('typical_latency_ms', models.PositiveIntegerField()),
                ('contract_months', models.PositiveSmallIntegerField(default=0)),
                ('contract_terms_url', models.URLField(blank=True, default='')),
                ('early_termination_fee', ispops.money.AmountField(blank=True, null=True)),
                ('purchase_fees', models.JSONField(blank=True, default=list)),
                ('monthly_fees', models.JSONField(blank=True, default=list)),
                ('discounts_url', models.URLField(blank=True, default='')),
                ('data_allowance_url', models.URLField(blank=True, default='')),
                ('valid_from', models.DateTimeField()),
                ('valid_to', models.DateTimeField(blank=True, null=True)),
                ('offering', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='labels', to='catalog.productoffering')),
            ],
        ),
        migrations.AddField(
            model_name='productoffering',
            name='fcc_plan_code',
            field=models.CharField(blank=True, editable=False, max_length=15, null=True, unique=True, verbose_name='FCC plan code'),
        ),
        migrations.AddConstraint(
            model_name='productoffering',
            constraint=models.CheckConstraint(condition=models.Q(('fcc_plan_code__isnull', True), ('fcc_plan_code__regex', '^[A-Z0-9]{15}$'), _connector='OR'), name='fcc_plan_code_has_its_form'),
        ),
        migrations.AddConstraint(
            model_name='broadbandlabel',
            constraint=models.CheckConstraint(condition=models.Q(('typical_download_kbps__gt', 0), ('typical_latency_ms__gt', 0), ('typical_upload_kbps__gt', 0)), name='label_says_what_is_typical'),
        ),
        migrations.AddConstraint(
            model_name='broadbandlabel',
            constraint=models.CheckConstraint(condition=models.Q(('early_termination_fee__isnull', True), models.Q(('contract_months__gt', 0), ('early_termination_fee__gte', 0)), _connector='OR'), name='only_a_contract_has_a_termination_fee'),
        ),
        migrations.AddConstraint(
            model_name='broadbandlabel',
            constraint=models.CheckConstraint(condition=models.Q(('valid_to__isnull', True), ('valid_to__gt', models.F('valid_from')), _connector='OR'), name='label_ends_after_it_starts'),
        ),
        never_overlap(
            "catalog_broadbandlabel",
            "one_label_at_a_time",
            same_number("offering_id"),
            overlapping("valid_from", "valid_to"),
        ),
        migrations.RunSQL(
            "CREATE TRIGGER kept_once_in_force BEFORE UPDATE OR DELETE ON catalog_broadbandlabel "
            "FOR EACH ROW WHEN (OLD.valid_from <= now()) "
            "EXECUTE FUNCTION ispops_refuse_change('valid_to')",
            "DROP TRIGGER kept_once_in_force ON catalog_broadbandlabel",
        ),
    ]
