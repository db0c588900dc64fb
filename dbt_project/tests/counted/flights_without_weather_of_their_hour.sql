-- The hour that weather tables are usually joined on; features use an earlier one.
select flights.entity_id
from {{ ref('stg_operations__flights') }} as flights
left join {{ ref('stg_stations__weather') }} as weather on flights.origin = weather.origin and flights.departure_hour = weather.observed_at
where {{ in_partition("flights.partition_key") }} and weather.origin is null
