"""Accounts that pay ahead for partners' products."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('parties', '0010_own_limits'),
    ]

    operations = [
        migrations.AddField(
            model_name='subscriber',
            name='is_prepaid',
            field=models.BooleanField(default=False),
        ),
    ]
