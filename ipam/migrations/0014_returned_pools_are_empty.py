from django.db import migrations

# A range goes back when nobody has any of it: no device, and no line for good.
EMPTY = """
CREATE FUNCTION ipam_returned_pool_is_empty() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ipam_allocation WHERE pool_id = NEW.id)
        OR EXISTS (SELECT FROM ipam_staticaddress WHERE pool_id = NEW.id AND released_at IS NULL)
        OR EXISTS (SELECT FROM ipam_freeextent WHERE pool_id = NEW.id) THEN
        RAISE EXCEPTION 'pool % has addresses that are free or somebody''s', NEW.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER returned_pool_is_empty BEFORE UPDATE OF state ON ipam_pool
FOR EACH ROW WHEN (NEW.state = 'returned') EXECUTE FUNCTION ipam_returned_pool_is_empty();
"""

DROP_EMPTY = """
DROP TRIGGER returned_pool_is_empty ON ipam_pool;
DROP FUNCTION ipam_returned_pool_is_empty();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('ipam', '0013_plans_static_addresses'),
    ]

    operations = [migrations.RunSQL(EMPTY, DROP_EMPTY)]
