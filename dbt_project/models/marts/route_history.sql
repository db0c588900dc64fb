-- What is known of each route once a partition is published: the history before it, and the partition itself. Never read as
-- "latest": every reader names the key that it means.
with flights as (

    select * from {{ ref('stg_operations__flights') }}
    where {{ in_partition() }}

),

flown as (

    select
        origin,
        dest,
        count(air_time) as flights,
        coalesce(sum(air_time), 0) as air_time_total
    from flights
    group by origin, dest

),

before as (

    {% if is_incremental() %}
    select
        origin,
        dest,
        flights,
        air_time_total
    from {{ this }}
    where
        partition_key = (
            select max(published.partition_key) from {{ source('ops', 'published') }} as published
            where published.partition_key < '{{ var("partition") }}'
        )
    {% else %}
    select
        origin,
        dest,
        flights,
        air_time_total
    from flown
    where false
    {% endif %}

),

united as (

    select * from before
    union all
    select * from flown

),

added as (

    select
        '{{ var("partition") }}'::{{ kind("text") }} as partition_key,
        origin,
        dest,
        sum(flights)::bigint as flights,
        sum(air_time_total)::bigint as air_time_total
    from united
    group by origin, dest

)

select * from added
