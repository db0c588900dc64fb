-- Their aircraft's features are missing.
select flights.entity_id
from {{ ref('stg_operations__flights') }} as flights
left join {{ ref('stg_registry__planes') }} as planes on flights.tailnum = planes.tailnum
where {{ in_partition("flights.partition_key") }} and planes.tailnum is null
