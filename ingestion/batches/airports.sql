create or replace view landing.airports_batch as
select a.ctid::text as row_id, faa as entity_id, a.* from landing.airports a where partition_key = current_setting('flightdeck.partition');
