with source as (

    select * from {{ source('stations', 'weather') }}

),

renamed as (

    select
        partition_key,
        origin,
        make_date(year, month, day) as local_day,
        hour as local_hour,
        time_hour as observed_at,
        recorded_at,
        temp,
        dewp,
        humid,
        wind_dir,
        wind_speed,
        wind_gust,
        precip,
        pressure,
        visib
    from source

)

select * from renamed
