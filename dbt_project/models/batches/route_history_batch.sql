with route_history as (

    select * from {{ ref('route_history') }}
    where partition_key = current_setting('flightdeck.partition')

)

select
    concat(origin, '/', dest) as row_id,
    route_history.*
from route_history
