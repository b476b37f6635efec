import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('parties', '0002_guards'),
    ]

    operations = [
        migrations.AddField(
            model_name='partner',
            name='brand_name',
            field=models.CharField(blank=True, default='', max_length=100),
        ),
        migrations.AddField(
            model_name='partner',
            name='fcc_provider_id',
            field=models.CharField(blank=True, default='', max_length=6, validators=[django.core.validators.RegexValidator('^[0-9]{6}\\Z', 'It has six digits.')], verbose_name='FCC provider id'),
        ),
        migrations.AddConstraint(
            model_name='partner',
            constraint=models.CheckConstraint(condition=models.Q(('fcc_provider_id', ''), models.Q(('fcc_provider_id__regex', '^[0-9]{6}$'), ('kind', 'network_provider')), _connector='OR'), name='fcc_provider_id_has_its_form'),
        ),
    ]
