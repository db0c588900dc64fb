-- Late by definition.
select entity_id
from {{ ref('stg_operations__flights') }}
where {{ in_partition() }} and cancelled
