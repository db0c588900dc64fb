with source as (

    select * from {{ source('stations', 'weather') }}

),

renamed as (

    select
        partition_key,
        origin,
        time_hour as observed_at,
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
