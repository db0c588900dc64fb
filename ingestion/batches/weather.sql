create or replace view landing.weather_batch as
select
    w.ctid::text as row_id,
    concat(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '/', origin) as entity_id,
    w.*
from landing.weather w where partition_key = current_setting('flightdeck.partition');
