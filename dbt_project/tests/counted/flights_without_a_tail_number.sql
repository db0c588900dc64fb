-- Part of those of unknown aircraft.
select entity_id
from {{ ref('stg_operations__flights') }}
where {{ in_partition() }} and tailnum is null
