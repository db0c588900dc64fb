create or replace view landing.airlines_batch as
select
    a.ctid::text as row_id,
    carrier as entity_id,
    num_nulls(carrier, name) as required_nulls,
    a.*
from landing.airlines a where partition_key = current_setting('flightdeck.partition');
