"""Accounting messages in parts that can be dropped; see `provisioning.accounting_parts`."""

from django.db import migrations

# What was stored so far is the first part, up to the next ten million ids.
IN_PARTS = """
DO $$
DECLARE
    number bigint;
BEGIN
    SELECT COALESCE(max(id), 0) / 10000000 INTO number FROM provisioning_accountingrecord;
    PERFORM ispops_partition_by_id(
        'provisioning_accountingrecord', 'provisioning_accountingrecord_part_' || number,
        ((number + 1) * 10000000)::text);
    FOR part IN number + 1 .. number + 3 LOOP
        EXECUTE format('CREATE TABLE %I (LIKE provisioning_accountingrecord INCLUDING ALL '
                       'EXCLUDING IDENTITY)', 'provisioning_accountingrecord_part_' || part);
        EXECUTE format('ALTER TABLE provisioning_accountingrecord ATTACH PARTITION %I '
                       'FOR VALUES FROM (%s) TO (%s)', 'provisioning_accountingrecord_part_' || part,
                       part * 10000000, (part + 1) * 10000000);
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("ispops", "0003_partitions"),
        ("provisioning", "0023_addresses_that_servers_choose"),
    ]

    operations = [migrations.RunSQL(IN_PARTS)]
