from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0018_subscriber_equipment")]

    operations = [
        migrations.AddField(
            model_name="accessserver",
            name="coa_says_when",
            field=models.BooleanField(default=True),
        ),
    ]
