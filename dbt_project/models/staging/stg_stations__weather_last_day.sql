with weather as (

    select * from {{ ref('stg_stations__weather') }}

),

last_day as (

    select * from weather
    where
        observed_at
        >= {{ at_zone("((partition_key || '-01')::timestamp + interval '1 month' - interval '26 hours')", "'" ~ var("timezone") ~ "'") }}

)

select * from last_day
