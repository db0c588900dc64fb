with labels as (

    select * from {{ ref('labels') }}
    where partition_key = current_setting('flightdeck.partition')

)

select
    entity_id as row_id,
    labels.*
from labels
