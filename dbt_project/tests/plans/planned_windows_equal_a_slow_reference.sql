-- Fifty departures, each held against all others of the timetable as it came.
with sampled as (

    select * from {{ ref('planned_departures') }}
    where {{ in_partition() }}
    order by md5(entity_id)
    limit 50

),

paired as (

    select
        sampled.entity_id,
        others.time_hour + (others.minute - own.minute) * interval '1 minute' as others_hour,
        own.time_hour,
        others.origin = own.origin and others.time_hour = own.time_hour as in_the_hour,
        others.origin = own.origin and (others.year, others.month, others.day) = (own.year, own.month, own.day) as on_the_day,
        others.tailnum = own.tailnum and (others.year, others.month, others.day) = (own.year, own.month, own.day)
        and (others.time_hour, others.minute, others.entity_id) <= (own.time_hour, own.minute, own.entity_id) as up_to_its_leg,
        others.entity_id <> own.entity_id as another
    from sampled
    inner join {{ source('timetable', 'timetable') }} as own on sampled.entity_id = own.entity_id
    inner join {{ source('timetable', 'timetable') }} as others on own.partition_key = others.partition_key

),

counted as (

    select
        entity_id,
        count(*) filter (where in_the_hour) as slow_hour,
        count(*) filter (where on_the_day) as slow_day,
        nullif(count(*) filter (where up_to_its_leg), 0) as slow_leg,
        {{ minutes_between("max(others_hour) filter (where up_to_its_leg and another)", "max(time_hour)") }} as slow_minutes_since_leg
    from paired
    group by entity_id

)

select counted.*
from sampled
inner join counted on sampled.entity_id = counted.entity_id
where
    sampled.departures_hour <> counted.slow_hour
    or sampled.departures_day <> counted.slow_day
    or sampled.leg is distinct from counted.slow_leg
    or sampled.minutes_since_leg is distinct from counted.slow_minutes_since_leg
