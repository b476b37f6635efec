"""Drafts of prices that nobody works on any more."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0011_bundles_of_products'),
    ]

    operations = [
        migrations.AddField(
            model_name='pricedraft',
            name='discarded_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='pricedraft',
            constraint=models.CheckConstraint(condition=models.Q(('published_at__isnull', True), ('discarded_at__isnull', True), _connector='OR'), name='published_draft_is_not_discarded'),
        ),
    ]
