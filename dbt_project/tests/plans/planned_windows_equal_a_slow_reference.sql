-- Fifty departures, each counted for itself in the timetable as it came.
with sampled as (

    select * from {{ ref('planned_departures') }}
    where {{ in_partition() }}
    order by md5(entity_id)
    limit 50

),

counted as (

    select
        sampled.*,
        (
            select count(*) from {{ source('timetable', 'timetable') }} as others
            where
                others.partition_key = own.partition_key
                and others.origin = own.origin
                and others.time_hour = own.time_hour
        ) as slow_hour,
        (
            select count(*) from {{ source('timetable', 'timetable') }} as others
            where
                others.partition_key = own.partition_key
                and others.origin = own.origin
                and (others.year, others.month, others.day) = (own.year, own.month, own.day)
        ) as slow_day,
        (
            select nullif(count(*), 0) from {{ source('timetable', 'timetable') }} as others
            where
                others.partition_key = own.partition_key
                and others.tailnum = own.tailnum
                and (others.year, others.month, others.day) = (own.year, own.month, own.day)
                and (others.time_hour, others.minute, others.entity_id) <= (own.time_hour, own.minute, own.entity_id)
        ) as slow_leg,
        (
            select extract(epoch from (own.time_hour - max(others.time_hour + (others.minute - own.minute) * interval '1 minute'))) / 60
            from {{ source('timetable', 'timetable') }} as others
            where
                others.partition_key = own.partition_key
                and others.tailnum = own.tailnum
                and (others.year, others.month, others.day) = (own.year, own.month, own.day)
                and (others.time_hour, others.minute, others.entity_id) < (own.time_hour, own.minute, own.entity_id)
        ) as slow_minutes_since_leg
    from sampled
    inner join {{ source('timetable', 'timetable') }} as own on sampled.entity_id = own.entity_id

)

select * from counted
where
    departures_hour <> slow_hour
    or departures_day <> slow_day
    or leg is distinct from slow_leg
    or minutes_since_leg is distinct from slow_minutes_since_leg
