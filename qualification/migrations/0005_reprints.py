"""What is read years later is kept with the answer; older answers get what is in force now."""

from django.db import migrations, models


KEEP_TERMS = """
ALTER TABLE qualification_qualifiedoffer DISABLE TRIGGER append_only;
UPDATE qualification_qualifiedoffer SET description = offering.description
    FROM catalog_productoffering offering WHERE offering.id = offering_id;
UPDATE qualification_qualifiedoffer SET low_latency = area.low_latency
    FROM qualification_coveragearea area WHERE area.id = coverage_id;
UPDATE qualification_qualifiedoffer SET parts = inside.parts
    FROM (
        SELECT bundle_id, jsonb_agg(
            jsonb_build_object('code', part.code, 'name', part.name) ORDER BY component.id
        ) AS parts
        FROM catalog_bundlecomponent component
        JOIN catalog_productoffering part ON part.id = component.component_id
        GROUP BY bundle_id
    ) inside
    WHERE inside.bundle_id = offering_id;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_qualifiedoffer ENABLE TRIGGER append_only;
ALTER TABLE qualification_servicequalification DISABLE TRIGGER settle_once;
UPDATE qualification_servicequalification SET location_id = premises.location_id
    FROM qualification_premises premises
    WHERE premises.id = premises_id AND premises.location_id IS NOT NULL;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_servicequalification ENABLE TRIGGER settle_once;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('qualification', '0004_settle_once'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='accessport',
            options={'permissions': [('hold_accessport', 'Can hold a port for an answer, for some days')]},
        ),
        migrations.AlterModelOptions(
            name='servicequalification',
            options={'permissions': [('override_servicequalification', 'Can promise what an answer refused, with a reason')]},
        ),
        migrations.AddField(
            model_name='qualifiedoffer',
            name='description',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='qualifiedoffer',
            name='low_latency',
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name='qualifiedoffer',
            name='overridden',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='qualifiedoffer',
            name='parts',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='servicequalification',
            name='location_id',
            field=models.CharField(blank=True, default='', max_length=40),
        ),
        migrations.RunSQL(KEEP_TERMS, migrations.RunSQL.noop),
    ]
