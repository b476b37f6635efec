import django.contrib.postgres.indexes
import django.db.models.deletion
import ipam.models.pools
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ipam', '0010_static_addresses'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name='allocationhistory',
            index=django.contrib.postgres.indexes.GistIndex(ipam.models.pools.Span(), name='stays_by_span'),
        ),
        migrations.CreateModel(
            name='CsrLetters',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('wanted', models.BooleanField(default=True)),
                ('written_at', models.DateTimeField(blank=True, null=True)),
                ('told_until', models.DateTimeField(blank=True, null=True)),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'letters about requests',
                'verbose_name_plural': 'letters about requests',
            },
        ),
    ]
