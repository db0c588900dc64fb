-- What the timetable says of each departure's day. Built when the timetable is published and not with the flights: a request
-- of the month looks it up before any of them has flown.
with departures as (

    select * from {{ ref('stg_timetable__departures') }}
    where {{ in_partition() }}

),

counted as (

    select
        entity_id,
        partition_key,
        mod(arrival_minute_of_day - minute_of_day + 1440, 1440) as planned_clock_minutes,
        count(*) over (partition by origin, departure_hour) as departures_hour,
        count(*) over (partition by origin, local_day) as departures_day,
        case when tailnum is not null then row_number() over legs end as leg,
        scheduled_departure,
        case when tailnum is not null then lag(scheduled_departure) over legs end as leg_before
    from departures
    window legs as (partition by tailnum, local_day order by scheduled_departure, entity_id)

),

measured as (

    select
        entity_id,
        partition_key,
        planned_clock_minutes,
        departures_hour,
        departures_day,
        leg::bigint as leg,
        ({{ minutes_between("leg_before", "scheduled_departure") }})::integer as minutes_since_leg
    from counted

)

select * from measured
