"""The systems that steps call: their limits, and which steps wait for them."""

import django.core.validators
import ispops.db
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('provisioning', '0010_delivery_by_api'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='OutsideSystem',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('key', models.CharField(max_length=80, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('at_once', models.PositiveSmallIntegerField(default=4, validators=[django.core.validators.MinValueValidator(1)])),
                ('per_minute', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)])),
                ('next_free_at', models.DateTimeField(blank=True, null=True)),
                ('breaker_threshold', models.PositiveSmallIntegerField(default=5, validators=[django.core.validators.MinValueValidator(1)])),
                ('breaker_pause_seconds', models.PositiveIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1)])),
                ('failures', models.PositiveIntegerField(default=0)),
                ('open_until', models.DateTimeField(blank=True, null=True)),
                ('failing_from', models.DateTimeField(blank=True, null=True)),
                ('last_error', models.CharField(blank=True, default='', max_length=300)),
            ],
        ),
        migrations.AddField(
            model_name='ordertask',
            name='system',
            field=models.CharField(blank=True, default='', max_length=80),
        ),
        migrations.AddIndex(
            model_name='ordertask',
            index=models.Index(condition=models.Q(('next_attempt_at__isnull', False), models.Q(('system', ''), _negated=True)), fields=['system', 'next_attempt_at'], name='order_task_of_system'),
        ),
        migrations.AddIndex(
            model_name='ordertask',
            index=models.Index(condition=models.Q(('finished_at__isnull', True), ('in_jeopardy_at__isnull', True)), fields=['due_at'], name='order_task_may_be_late'),
        ),
        migrations.AddConstraint(
            model_name='outsidesystem',
            constraint=models.CheckConstraint(condition=models.Q(('at_once__gte', 1), ('breaker_pause_seconds__gte', 1), ('breaker_threshold__gte', 1), models.Q(('per_minute__isnull', True), ('per_minute__gte', 1), _connector='OR')), name='outside_system_may_be_called'),
        ),
        migrations.AddConstraint(
            model_name='outsidesystem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('failing_from__isnull', True), ('failures', 0), ('open_until__isnull', True)), models.Q(('failing_from__isnull', False), ('failures__gt', 0)), _connector='OR'), name='failing_system_says_since_when'),
        ),
    ]
