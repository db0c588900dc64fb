-- One landed partition as checks and publishing see it: the partition comes from a session setting. row_id is the row's
-- physical address, which holds until the partition is loaded again: a key could be null, and lose its row in a join.
create or replace view landing.flights_batch as
select
    f.ctid::text as row_id,
    concat(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '/', carrier, '/', flight) as entity_id,
    f.*
from landing.flights f where partition_key = current_setting('flightdeck.partition');

create or replace view landing.weather_batch as
select
    w.ctid::text as row_id,
    concat(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '/', origin) as entity_id,
    w.*
from landing.weather w where partition_key = current_setting('flightdeck.partition');

create or replace view landing.planes_batch as
select p.ctid::text as row_id, tailnum as entity_id, p.* from landing.planes p where partition_key = current_setting('flightdeck.partition');

create or replace view landing.airports_batch as
select a.ctid::text as row_id, faa as entity_id, a.* from landing.airports a where partition_key = current_setting('flightdeck.partition');

create or replace view landing.airlines_batch as
select a.ctid::text as row_id, carrier as entity_id, a.* from landing.airlines a where partition_key = current_setting('flightdeck.partition');
