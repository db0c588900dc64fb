-- Their plan's features are missing.
select flights.entity_id
from {{ ref('stg_operations__flights') }} as flights
left join {{ ref('planned_departures') }} as planned on flights.entity_id = planned.entity_id
where {{ in_partition("flights.partition_key") }} and planned.entity_id is null
