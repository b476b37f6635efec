"""What subscribers let themselves spend, below what the ISP allows."""

from django.db import migrations, models

import ispops.money


class Migration(migrations.Migration):

    dependencies = [
        ('parties', '0009_checkers'),
    ]

    operations = [
        migrations.AddField(
            model_name='subscriber',
            name='own_limit',
            field=ispops.money.AmountField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='subscriber',
            constraint=models.CheckConstraint(condition=models.Q(('own_limit__isnull', True), ('own_limit__gte', 0), _connector='OR'), name='own_limit_is_not_below_zero'),
        ),
    ]
