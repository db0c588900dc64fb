create or replace view landing.weather_batch as
select
    w.ctid::text as row_id,
    concat(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '/', origin) as entity_id,
    num_nulls(origin, year, month, day, hour, time_hour, recorded_at) as required_nulls,
    date_part('epoch', ops.partition_end(partition_key, zone) - time_hour) / 3600 as hours_before_end,
    ops.in_partition(partition_key, year, month, day, hour) as in_partition,
    time_agrees,
    w.*
from landing.weather w, lateral (select zone, time_hour at time zone zone as local from current_setting('flightdeck.timezone') as zone) l,
    -- offset 0: computed once a row, however often a query names it
    lateral (
        select (year, month, day, hour)
            = (date_part('year', local), date_part('month', local), date_part('day', local), date_part('hour', local)) as time_agrees offset 0
    ) a
where partition_key = current_setting('flightdeck.partition');
