with source as (

    select * from {{ source('operations', 'flights') }}

),

renamed as (

    select
        entity_id,
        partition_key,
        carrier,
        flight,
        tailnum,
        origin,
        dest,
        make_date(year, month, day) as local_day,
        hour * 60 + minute as minute_of_day,
        time_hour as departure_hour,
        time_hour + minute * interval '1 minute' as scheduled_departure,
        -- hhmm of the destination's clock, 2400 is the day's end
        make_date(year, month, day)::timestamp
        + ({{ whole("sched_arr_time", 100) }} * 60 + mod(sched_arr_time, 100)) * interval '1 minute' as scheduled_arrival_local,
        distance,
        dep_time is null as cancelled,
        air_time,
        arr_delay as arrival_delay
    from source

)

select * from renamed
