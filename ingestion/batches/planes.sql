create or replace view landing.planes_batch as
select p.ctid::text as row_id, tailnum as entity_id, p.* from landing.planes p where partition_key = current_setting('flightdeck.partition');
