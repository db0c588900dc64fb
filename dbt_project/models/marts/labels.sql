with flights as (

    select * from {{ ref('stg_operations__flights') }}
    where {{ in_partition() }}

),

airports as (

    select * from {{ ref('stg_registry__airports') }}

),

scheduled as (

    select
        flights.*,
        {{ at_zone("flights.scheduled_arrival_local", "coalesce(airports.tzone, '" ~ var("timezone") ~ "')") }} as arrival_same_day
    from flights
    left join airports on flights.dest = airports.faa

),

arrived as (

    select
        *,
        -- an arrival that its clock puts before the departure is of the next day
        arrival_same_day
        + case when arrival_same_day <= scheduled_departure then interval '1 day' else interval '0 days' end as scheduled_arrival
    from scheduled

),

labelled as (

    select
        entity_id,
        partition_key,
        coalesce(arrival_delay >= 15, true) as label,
        -- who was cancelled or diverted is late by definition, and known to be a day after the schedule
        scheduled_arrival + coalesce(arrival_delay * interval '1 minute', interval '24 hours') as known_at,
        local_day as day
    from arrived

)

select * from labelled
