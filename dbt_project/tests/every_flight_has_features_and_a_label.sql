-- Each flight in raw has exactly one row in features and one in labels, and these have no others.
with united as (

    select
        entity_id,
        'flight' as found_in
    from {{ ref('stg_operations__flights') }}
    where {{ in_partition() }}
    union all
    select
        entity_id,
        'features' as found_in
    from {{ ref('features') }}
    where {{ in_partition() }}
    union all
    select
        entity_id,
        'labels' as found_in
    from {{ ref('labels') }}
    where {{ in_partition() }}

)

select entity_id from united
group by entity_id
having count(*) <> 3 or count(distinct found_in) <> 3
