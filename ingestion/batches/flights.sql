-- One landed partition as checks and publishing see it: the partition comes from a session setting, so that one view serves all
-- partitions side by side. row_id is the row's physical address, which holds until the partition is loaded again: a key could be
-- null, and lose its row in a join. Between the key and the row itself stands what only the checks need.
create or replace view landing.flights_batch as
select
    f.ctid::text as row_id,
    concat(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '/', carrier, '/', flight) as entity_id,
    num_nulls(year, month, day, sched_dep_time, sched_arr_time, carrier, flight, origin, dest, distance, hour, minute, time_hour, recorded_at) as required_nulls,
    date_part('epoch', ops.partition_end(partition_key, zone) - time_hour) / 3600 as hours_before_end,
    ops.in_partition(partition_key, year, month, day, hour) as in_partition,
    time_agrees,
    f.*
from landing.flights f, lateral (select zone, time_hour at time zone zone as local from current_setting('flightdeck.timezone') as zone) l,
    -- offset 0: computed once a row, however often a query names it
    lateral (
        select (year, month, day, hour, sched_dep_time / 100, sched_dep_time % 100)
            = (date_part('year', local), date_part('month', local), date_part('day', local), date_part('hour', local), hour, minute) as time_agrees offset 0
    ) a
where partition_key = current_setting('flightdeck.partition');
