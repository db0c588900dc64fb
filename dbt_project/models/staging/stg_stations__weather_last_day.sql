with weather as (

    select * from {{ ref('stg_stations__weather') }}

),

last_day as (

    select * from weather
    -- of a month; of a day or an hour, all that there is
    where
        length(partition_key) > 7
        or observed_at
        >= {{ at_zone("((substr(partition_key, 1, 7) || '-01')::timestamp + interval '1 month' - interval '26 hours')", "'" ~ var("timezone") ~ "'") }}

)

select * from last_day
