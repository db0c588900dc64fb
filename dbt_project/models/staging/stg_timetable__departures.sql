with source as (

    select * from {{ source('timetable', 'timetable') }}

),

renamed as (

    select
        entity_id,
        partition_key,
        carrier,
        tailnum,
        origin,
        dest,
        make_date(year, month, day) as local_day,
        time_hour as departure_hour,
        time_hour + minute * interval '1 minute' as scheduled_departure,
        hour * 60 + minute as minute_of_day,
        -- hhmm of the destination's clock, 2400 is the day's end
        {{ whole("sched_arr_time", 100) }} * 60 + mod(sched_arr_time, 100) as arrival_minute_of_day,
        published_at
    from source

)

select * from renamed
