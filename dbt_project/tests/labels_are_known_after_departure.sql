-- Whether a flight came late cannot be known before it has left.
select labels.*
from {{ ref('labels') }} as labels
inner join {{ ref('stg_operations__flights') }} as flights on labels.entity_id = flights.entity_id
where {{ in_partition("labels.partition_key") }} and labels.known_at <= flights.scheduled_departure
