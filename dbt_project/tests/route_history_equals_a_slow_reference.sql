-- The history before, and the partition's own flights, counted route by route.
with before as (

    select max(partition_key) as partition_key from {{ source('ops', 'published') }}
    where partition_key < '{{ var("partition") }}'

),

sampled as (

    select * from {{ ref('route_history') }}
    where {{ in_partition() }}
    order by md5(origin || dest)
    limit 20

),

counted as (

    select
        sampled.*,
        coalesce(earlier.flights, 0) + (
            select count(flown.air_time) from {{ ref('stg_operations__flights') }} as flown
            where flown.partition_key = sampled.partition_key and flown.origin = sampled.origin and flown.dest = sampled.dest
        ) as slow_flights,
        coalesce(earlier.air_time_total, 0) + (
            select coalesce(sum(flown.air_time), 0) from {{ ref('stg_operations__flights') }} as flown
            where flown.partition_key = sampled.partition_key and flown.origin = sampled.origin and flown.dest = sampled.dest
        ) as slow_air_time_total
    from sampled
    cross join before
    left join {{ ref('route_history') }} as earlier
        on
            before.partition_key = earlier.partition_key
            and sampled.origin = earlier.origin
            and sampled.dest = earlier.dest

)

select * from counted
where flights <> slow_flights or air_time_total <> slow_air_time_total
