"""Bundles of partners' products, beside aggregated plans."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0010_terms_have_revisions'),
    ]

    operations = [
        migrations.AlterField(
            model_name='productoffering',
            name='kind',
            field=models.CharField(choices=[('access', 'Access plan'), ('bsp', 'Partner product'), ('addon', 'Add-on'), ('bundle', 'Aggregated plan'), ('package', "Bundle of partners' products")], max_length=8),
        ),
    ]
