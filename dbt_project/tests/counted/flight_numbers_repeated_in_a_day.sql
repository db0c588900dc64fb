-- Whoever takes day, carrier and number for a key loses these.
select
    local_day,
    carrier,
    flight
from {{ ref('stg_operations__flights') }}
where {{ in_partition() }}
group by local_day, carrier, flight
having count(*) > 1
