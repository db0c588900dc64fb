-- A later observation would leak what one could not know when asked.
select *
from {{ ref('int_flights_joined') }}
where {{ in_partition() }} and observed_at > scheduled_departure - interval '2 hours'
