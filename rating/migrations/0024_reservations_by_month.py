"""What a consent has left is found by its month, and a hold writes no index that nobody reads by."""

import django.db.models.deletion
from django.db import migrations, models


def unindexed(to, related_name):
    return models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name=related_name, to=to
    )


class Migration(migrations.Migration):

    dependencies = [
        ('rating', '0023_prepaid_balance'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='reservation',
            index=models.Index(fields=['subscriber', 'partner', 'month_start'], name='reservation_of_month'),
        ),
        migrations.RemoveIndex(model_name='reservation', name='reservation_by_month'),
        migrations.AlterField('reservation', 'subscriber', unindexed('parties.subscriber', 'reservations')),
        migrations.AlterField('reservation', 'partner', unindexed('parties.partner', 'reservations')),
        migrations.AlterField('reservation', 'offering', unindexed('catalog.productoffering', '+')),
        migrations.AlterField('reservationuse', 'reservation', unindexed('rating.reservation', 'uses')),
    ]
