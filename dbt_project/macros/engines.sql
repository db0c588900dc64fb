{# What an engine's warehouse has beside the models, and PostgreSQL's has from the platform: raw tables, a ledger, and the view of what is published. #}

{% macro land(folder) %}
{% for schema in ("raw", "ops") %}{% set _ = run_query("create schema if not exists " ~ schema) %}{% endfor %}
{% for table in graph.sources.values() if table.schema == "raw" %}
{% set _ = run_query("drop table if exists raw." ~ table.name) %}
{% set _ = run_query(table_of_files("raw." ~ table.name, folder ~ "/" ~ table.name)) %}
{% endfor %}
{% set ledger %}
create table if not exists ops.ledger (
    partition_key {{ kind("text") }}, state {{ kind("text") }}, why {{ kind("text") }}, recorded_at {{ kind("timestamp with time zone") }}
)
{% endset %}
{% set _ = run_query(ledger) %}
{% set published %}
create or replace view ops.published as
select partition_key, max(recorded_at) as {{ adapter.quote("at") }} from ops.ledger where state = 'published' group by partition_key
{% endset %}
{% set _ = run_query(published) %}
{% endmacro %}

{# A row of the ledger: `started`, then `published`, or `failed` and why. #}
{% macro record(key, state, why) %}
{% call statement("record", auto_begin=False) %}insert into ops.ledger select '{{ key }}', '{{ state }}', '{{ why }}', current_timestamp{% endcall %}
{% endmacro %}
