with planned_departures as (

    select * from {{ ref('planned_departures') }}
    where partition_key = current_setting('flightdeck.partition')

)

select
    entity_id as row_id,
    planned_departures.*
from planned_departures
