create or replace view landing.planes_batch as
select
    p.ctid::text as row_id,
    tailnum as entity_id,
    num_nulls(tailnum) as required_nulls,
    greatest(length(type), length(manufacturer), length(model), length(engine)) as longest_text,
    p.*
from landing.planes p where partition_key = current_setting('flightdeck.partition');
