-- Each flight with its aircraft and with the origin's newest observation at least two hours before departure: what one
-- could know when asked. A later observation would leak, and so would one that was corrected since; one a day older says
-- nothing, and looking for it would cost more with every month.
with flights as (

    select * from {{ ref('stg_operations__flights') }}
    where {{ in_partition() }}

),

planes as (

    select * from {{ ref('stg_registry__planes') }}

),

observations as (

    select * from {{ ref('stg_stations__weather') }}

),

joined as (

    select
        flights.entity_id,
        flights.partition_key,
        flights.carrier,
        flights.origin,
        flights.dest,
        flights.local_day,
        flights.departure_hour,
        flights.scheduled_departure,
        flights.minute_of_day,
        flights.distance,
        planes.built,
        planes.seats,
        weather.observed_at,
        weather.recorded_at,
        weather.temp,
        weather.dewp,
        weather.humid,
        weather.wind_dir,
        weather.wind_speed,
        weather.wind_gust,
        weather.precip,
        weather.pressure,
        weather.visib
    from flights
    left join planes on flights.tailnum = planes.tailnum
    {% call left_join_newest(
        of="observations", by="observed_at", to="flights", asks=["origin", "scheduled_departure", "departure_hour"], alias="weather"
    ) %}
        observations.origin = flights.origin
        and observations.observed_at <= flights.scheduled_departure - interval '2 hours'
        and observations.observed_at > flights.scheduled_departure - interval '26 hours'
        and observations.recorded_at <= flights.departure_hour - interval '1 hour'
    {% endcall %}

)

select * from joined
