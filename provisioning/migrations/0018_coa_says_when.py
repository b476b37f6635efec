from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0017_visits_to_the_end")]

    operations = [
        migrations.AddField(
            model_name="accessserver",
            name="coa_says_when",
            field=models.BooleanField(default=True),
        ),
    ]
