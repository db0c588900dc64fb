-- A later observation would leak what one could not know when asked.
select
    joined.entity_id,
    joined.observed_at,
    flights.scheduled_departure
from {{ ref('int_flights_joined') }} as joined
inner join {{ ref('stg_operations__flights') }} as flights on joined.entity_id = flights.entity_id
where
    {{ in_partition('joined.partition_key') }}
    and {{ in_partition('flights.partition_key') }}
    and joined.observed_at > flights.scheduled_departure - interval '2 hours'
