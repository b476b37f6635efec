"""A closing keeps what partners were guaranteed in each part of its period."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("rating", "0020_cancelled_simulations")]

    operations = [
        migrations.AddField(
            model_name="usageclosing", name="parts", field=models.JSONField(default=list)
        ),
    ]
