"""An answer says where its place is, as far as it is known; a network reaches cells of every size."""

from django.db import migrations, models

# Answers are never edited: this tells of the old ones what new ones say of themselves. Where no
# premises was found, the state and the ZIP code are those that end the text.
FILL = r"""
ALTER TABLE qualification_servicequalification DISABLE TRIGGER settle_once;
UPDATE qualification_servicequalification answer
   SET h3_res8 = premises.h3_res8, city = premises.city, region = premises.region,
       postal_code = premises.postal_code
  FROM qualification_premises premises WHERE premises.id = answer.premises_id;
UPDATE qualification_servicequalification
   SET region = coalesce(upper(substring(asked_text FROM '\m([[:alpha:]]{2})\W+\d{5}(?:-\d{4})?\W*$')), ''),
       postal_code = coalesce(substring(asked_text FROM '(\d{5})(?:-\d{4})?\W*$'), '')
 WHERE premises_id IS NULL;
UPDATE qualification_waitlistentry entry
   SET city = answer.city, region = answer.region, postal_code = answer.postal_code
  FROM qualification_servicequalification answer WHERE answer.id = entry.qualification_id;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_servicequalification ENABLE TRIGGER settle_once;
"""


class Migration(migrations.Migration):
    dependencies = [
        ('qualification', '0008_asking'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='reachedcell',
            name='cell_is_reached_once_by_a_network',
        ),
        migrations.RenameField(
            model_name='reachedcell',
            old_name='h3_res8',
            new_name='cell',
        ),
        migrations.AddField(
            model_name='servicequalification',
            name='city',
            field=models.CharField(blank=True, default='', max_length=100),
        ),
        migrations.AddField(
            model_name='servicequalification',
            name='h3_res8',
            field=models.CharField(blank=True, default='', max_length=15),
        ),
        migrations.AddField(
            model_name='servicequalification',
            name='postal_code',
            field=models.CharField(blank=True, default='', max_length=10),
        ),
        migrations.AddField(
            model_name='servicequalification',
            name='region',
            field=models.CharField(blank=True, default='', max_length=2),
        ),
        migrations.AddField(
            model_name='waitlistentry',
            name='city',
            field=models.CharField(blank=True, default='', max_length=100),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='reachedcell',
            constraint=models.UniqueConstraint(fields=('cell', 'provider'), name='cell_is_reached_once_by_a_network'),
        ),
    ]
