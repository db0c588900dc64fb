-- Known or not: the territories' zones come from a seed.
select flights.entity_id
from {{ ref('stg_operations__flights') }} as flights
left join {{ ref('stg_registry__airports') }} as airports on flights.dest = airports.faa and airports.registered
where {{ in_partition("flights.partition_key") }} and airports.faa is null
