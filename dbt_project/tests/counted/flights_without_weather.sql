-- Neither two hours before departure nor in the day before that.
select entity_id
from {{ ref('int_flights_joined') }}
where {{ in_partition() }} and observed_at is null
