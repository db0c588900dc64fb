create or replace view landing.airports_batch as
select
    a.ctid::text as row_id,
    faa as entity_id,
    num_nulls(faa, name) as required_nulls,
    tzone in (select name from pg_timezone_names) as tzone_exists,
    a.*
from landing.airports a where partition_key = current_setting('flightdeck.partition');
