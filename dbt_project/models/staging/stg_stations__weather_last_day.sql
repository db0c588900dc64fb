with weather as (

    select * from {{ ref('stg_stations__weather') }}

),

last_day as (

    select * from weather
    where
        observed_at
        >= ((partition_key || '-01')::date + interval '1 month' - interval '26 hours') at time zone '{{ var("timezone") }}'

)

select * from last_day
