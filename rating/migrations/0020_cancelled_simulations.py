"""Simulations that somebody has cancelled."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rating', '0019_own_limits'),
    ]

    operations = [
        migrations.AlterField(
            model_name='simulation',
            name='state',
            field=models.CharField(choices=[('queued', 'Waiting for a worker'), ('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=10),
        ),
    ]
