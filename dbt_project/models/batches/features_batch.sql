with features as (

    select * from {{ ref('features') }}
    where partition_key = current_setting('flightdeck.partition')

)

select
    entity_id as row_id,
    features.*
from features
