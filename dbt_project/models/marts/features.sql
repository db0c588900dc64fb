with joined as (

    select * from {{ ref('int_flights_joined') }}
    where {{ in_partition() }}

),

newest as (

    select max(partition_key) as history_key from {{ source('ops', 'published') }}
    where partition_key < '{{ var("partition") }}'

),

history as (

    select * from {{ ref('route_history') }}

),

planned as (

    select * from {{ ref('planned_departures') }}
    where {{ in_partition() }}

),

holidays as (

    select
        days.local_day,
        min(abs({{ days_between("holidays.day", "days.local_day") }})) as distance
    from (select distinct joined.local_day from joined) as days
    inner join {{ ref('federal_holidays') }} as holidays
        on {{ days_between("holidays.day", "days.local_day") }} between -7 and 7
    group by days.local_day

),

numbered as (

    select
        joined.entity_id,
        joined.partition_key,
        newest.history_key,
        {{ code('joined.carrier', 2) }}::{{ kind("double precision") }} as carrier_code,
        {{ code('joined.origin', 3) }}::{{ kind("double precision") }} as origin_code,
        {{ code('joined.dest', 3) }}::{{ kind("double precision") }} as dest_code,
        joined.minute_of_day::{{ kind("double precision") }} as minute_of_day,
        {{ day_of_week("joined.local_day") }}::{{ kind("double precision") }} as day_of_week,
        coalesce(holidays.distance, 7)::{{ kind("double precision") }} as days_from_holiday,
        joined.distance::{{ kind("double precision") }} as distance,
        planned.planned_clock_minutes::{{ kind("double precision") }} as planned_clock_minutes,
        planned.departures_hour::{{ kind("double precision") }} as departures_hour,
        planned.departures_day::{{ kind("double precision") }} as departures_day,
        planned.leg::{{ kind("double precision") }} as leg,
        planned.minutes_since_leg::{{ kind("double precision") }} as minutes_since_leg,
        joined.built::{{ kind("double precision") }} as plane_built,
        joined.seats::{{ kind("double precision") }} as plane_seats,
        joined.temp,
        joined.dewp,
        joined.humid,
        joined.wind_dir,
        joined.wind_speed,
        joined.wind_gust,
        joined.precip,
        joined.pressure,
        joined.visib,
        history.air_time_total::{{ kind("double precision") }} / nullif(history.flights, 0) as route_air_time
    from joined
    cross join newest
    left join history
        on
            newest.history_key = history.partition_key
            and joined.origin = history.origin
            and joined.dest = history.dest
    left join planned on joined.entity_id = planned.entity_id
    left join holidays on joined.local_day = holidays.local_day

)

select * from numbered
