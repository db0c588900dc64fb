-- A version that came later, a correction for one, leaks as well as a later hour does.
select *
from {{ ref('int_flights_joined') }}
where {{ in_partition() }} and recorded_at > departure_hour - interval '1 hour'
