-- Cancelled or diverted: late by definition.
select entity_id
from {{ ref('stg_operations__flights') }}
where {{ in_partition() }} and arrival_delay is null
