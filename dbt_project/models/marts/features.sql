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

numbered as (

    select
        joined.entity_id,
        joined.partition_key,
        newest.history_key,
        {{ code('joined.carrier', 2) }} as carrier_code,
        {{ code('joined.origin', 3) }} as origin_code,
        {{ code('joined.dest', 3) }} as dest_code,
        joined.minute_of_day::double precision as minute_of_day,
        extract(isodow from joined.local_day)::double precision as day_of_week,
        joined.distance::double precision as distance,
        joined.built::double precision as plane_built,
        joined.seats::double precision as plane_seats,
        joined.temp,
        joined.dewp,
        joined.humid,
        joined.wind_dir,
        joined.wind_speed,
        joined.wind_gust,
        joined.precip,
        joined.pressure,
        joined.visib,
        history.air_time_total::double precision / nullif(history.flights, 0) as route_air_time
    from joined
    cross join newest
    left join history
        on
            newest.history_key = history.partition_key
            and joined.origin = history.origin
            and joined.dest = history.dest

)

select * from numbered
