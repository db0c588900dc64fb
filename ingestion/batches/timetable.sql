create or replace view landing.timetable_batch as
select
    t.ctid::text as row_id,
    concat(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '/', carrier, '/', flight) as entity_id,
    t.*
from landing.timetable t where partition_key = current_setting('flightdeck.partition');
