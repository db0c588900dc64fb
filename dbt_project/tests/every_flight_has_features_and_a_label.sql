-- Each flight in raw has exactly one row in features and one in labels, and these have no others.
with counted as (

    select
        coalesce(flights.entity_id, features.entity_id, labels.entity_id) as entity_id,
        flights.entity_id is not null
        and features.entity_id is not null
        and labels.entity_id is not null as complete
    from
        (select entity_id from {{ ref('stg_operations__flights') }} where {{ in_partition() }}) as flights
    full join
        (select entity_id from {{ ref('features') }} where {{ in_partition() }}) as features
        on flights.entity_id = features.entity_id
    full join
        (select entity_id from {{ ref('labels') }} where {{ in_partition() }}) as labels
        on coalesce(flights.entity_id, features.entity_id) = labels.entity_id

)

select * from counted
where not complete
