-- The warehouse's own tables. Runs at every start as the administrator; every statement may run again.
-- One at a time: it, and whoever changes what may be read.
select pg_advisory_xact_lock(hashtextextended('let_read', 0));
create schema if not exists landing authorization worker;
create schema if not exists raw authorization worker;
create schema if not exists staging authorization worker;
create schema if not exists intermediate authorization worker;
create schema if not exists marts authorization worker;
create schema if not exists quarantine authorization worker;
create schema if not exists ops authorization worker;
create schema if not exists personal authorization privacy;
set role worker;

-- A key is YYYY-MM, YYYY-MM-DD or YYYY-MM-DDTHH, by the setting `partitions`; flightdeck/partitions.py is their twin.
create or replace function ops.partition_end(key text, zone text) returns timestamptz language sql immutable parallel safe return
    ((key || substr('0000-01-01T00:00', length(key) + 1))::timestamp
        + case length(key) when 7 then interval '1 month' when 10 then interval '1 day' else interval '1 hour' end) at time zone zone;
create or replace function ops.in_partition(key text, y bigint, m bigint, d bigint, h bigint) returns boolean language sql immutable parallel safe return
    (y, m) = (left(key, 4)::int, substr(key, 6, 2)::int)
    and (length(key) < 10 or d = nullif(substr(key, 9, 2), '')::int) and (length(key) < 13 or h = nullif(substr(key, 12, 2), '')::int);

-- One row for each state of each attempt of each stage on each partition. Append-only, also for its owner.
create table if not exists ops.ledger (
    id bigint generated always as identity primary key,
    partition_key text not null,
    stage text not null,
    attempt int not null,
    state text not null,
    inputs jsonb not null default '{}',
    outputs jsonb not null default '{}',
    facts jsonb not null default '{}',
    code text not null,
    at timestamptz not null default clock_timestamp()
);
alter table ops.ledger drop constraint if exists ledger_state_check;
alter table ops.ledger add constraint ledger_state_check check (state in 
    ('planned', 'started', 'withdrawn', 'reopened', 'superseded', 'published', 'done', 'failed'));
create index if not exists ledger_stage_key on ops.ledger (stage, partition_key, id);

-- Which version serves from which partition on; the registry's aliases mirror it.
create table if not exists ops.deployments (
    id bigint generated always as identity primary key,
    partition_key text not null,
    model_version int not null,
    state text not null,
    release jsonb not null,
    reasons jsonb not null default '[]',
    code text not null,
    at timestamptz not null default clock_timestamp()
);

alter table ops.deployments drop constraint if exists deployments_state_check;
alter table ops.deployments add constraint deployments_state_check check (state in ('registered', 'shadow', 'canary', 'champion', 'retired'));
-- the share of requests that a canary answers; what the state before it has shown
alter table ops.deployments add column if not exists share real not null default 0;
alter table ops.deployments add column if not exists evidence jsonb not null default '{}';

-- The service hears of what it follows as it is written; it would see it half a second later.
create or replace function ops.tell() returns trigger language plpgsql as $$
begin
    perform pg_notify('serving', '');
    return null;
end $$;
create or replace trigger tell after insert on ops.deployments for each statement execute function ops.tell();
create or replace trigger tell after insert on ops.ledger for each row
when (new.state in ('published', 'withdrawn') or (new.stage = 'plan' and new.state = 'done')) execute function ops.tell();

create or replace function ops.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name;
end $$;
create or replace trigger append_only before update or delete or truncate on ops.ledger execute function ops.refuse_change();
create or replace trigger append_only before update or delete or truncate on ops.deployments execute function ops.refuse_change();

-- A partition's marts may be read when the last word on it is `published`.
create or replace view ops.published as
select partition_key, at from (
    select distinct on (partition_key) partition_key, state, at from ops.ledger
    where stage = 'transform' and state in ('published', 'withdrawn')
    order by partition_key, id desc
) last_word where state = 'published';

create table if not exists ops.predictions (
    prediction_id uuid primary key,
    entity_id text not null,
    partition_key text not null,
    purpose text not null,
    model_version int not null,
    probability double precision not null,
    features jsonb not null,
    history_key text,
    requested_at timestamptz not null,
    logged_at timestamptz not null default clock_timestamp()
);
-- what one row of it took the model; of a shadow's answer, which answer was given
alter table ops.predictions add column if not exists seconds real;
alter table ops.predictions add column if not exists shadows uuid;
alter table ops.predictions drop constraint if exists predictions_purpose_check;
alter table ops.predictions add constraint predictions_purpose_check check (purpose in ('replay', 'live', 'shadow', 'probe', 'drill'));
create index if not exists predictions_key on ops.predictions (partition_key, entity_id);
-- what was asked last
create index if not exists predictions_asked on ops.predictions (logged_at) where purpose in ('replay', 'live');
-- how many answers a model has given, and as of which history, without reading any of them
create index if not exists predictions_origin on ops.predictions (model_version, history_key, purpose);

create table if not exists quarantine.rows (
    id bigint generated always as identity primary key,
    source_table text not null,
    partition_key text not null,
    entity_key text,
    row jsonb not null,
    expectation text not null,
    load_id text,
    state text not null default 'held' check (state in ('held', 'repaired', 'replayed', 'waived')),
    at timestamptz not null default clock_timestamp()
);
create index if not exists quarantine_partition on quarantine.rows (source_table, partition_key);

-- Which rule has repaired or waived the row, why, who has decided it, and what it has become.
alter table quarantine.rows add column if not exists rule text;
alter table quarantine.rows add column if not exists reason text;
alter table quarantine.rows add column if not exists by text;
alter table quarantine.rows add column if not exists repaired jsonb;

-- What a checkpoint found in a landed partition, until its publish transaction moves it.
create table if not exists landing.failures (
    source_table text not null,
    partition_key text not null,
    attempt int not null,
    row_id text not null,
    expectation text not null
);
-- Landed rows that a rule has repaired or waived: as they came and as they are now, until their publish transaction moves them.
create table if not exists landing.repaired (
    source_table text not null,
    partition_key text not null,
    attempt int not null,
    row_id text not null,
    entity_key text,
    row jsonb not null,
    expectation text not null,
    state text not null check (state in ('replayed', 'waived')),
    rule text not null,
    reason text not null,
    by text not null,
    repaired jsonb
);
-- Rows that no landing table can take as they are, until their publish transaction moves them.
create table if not exists landing.rejected (
    source_table text not null,
    partition_key text not null,
    attempt int not null,
    row jsonb not null,
    reason text not null
);

-- Statistical process control: what was measured of a partition, of the whole (at_day is null) or of one of its days.
create table if not exists ops.profiles (
    source_table text not null,
    partition_key text not null,
    metric text not null,
    at_day date,
    value double precision not null,
    unique nulls not distinct (source_table, partition_key, metric, at_day)
);

-- One row for what was unusual in an attempt on a table's partition. `delivered`: whether the webhook took it; null when there is none.
create table if not exists ops.alerts (
    partition_key text not null,
    source text not null,
    attempt int not null,
    severity text not null check (severity in ('warning', 'stop')),
    summary text not null,
    details jsonb not null,
    delivered boolean,
    error text,
    at timestamptz not null default clock_timestamp(),
    primary key (partition_key, source, attempt)
);
-- What Prometheus's rules raised, as Alertmanager tells it; without an end while it goes on.
create table if not exists ops.incidents (
    fingerprint text not null,
    starts_at timestamptz not null,
    ends_at timestamptz,
    name text not null,
    severity text not null,
    summary text not null,
    labels jsonb not null,
    at timestamptz not null default clock_timestamp(),
    primary key (fingerprint, starts_at)
);
-- Rows of the ledger that have been told onward, as lineage events.
create table if not exists ops.told (ledger bigint primary key);
-- When a task last ran: one row.
create table if not exists ops.canary (one boolean primary key default true check (one), at timestamptz not null);
reset role;

-- Who asked for a prediction, by pseudonym: readable by `privacy` alone. The prediction itself says nothing of them.
set role privacy;
create table if not exists personal.askers (
    prediction_id uuid primary key,
    subject text not null,
    logged_at timestamptz not null default clock_timestamp()
);
create index if not exists askers_subject on personal.askers (subject);
create or replace function personal.expire(days int) returns bigint language sql security definer set search_path = personal as $$
    with gone as (delete from askers where logged_at < now() - days * interval '1 day' returning 1) select count(*) from gone
$$;
revoke all on function personal.expire from public;
grant execute on function personal.expire to worker;
reset role;
grant usage on schema personal to serving, worker;
grant insert on personal.askers to serving;
grant usage on schema ops to privacy;
grant select on ops.predictions to privacy;

-- Who has read, changed, approved, promoted or erased what, and when. Reads of personal data other than by `flightdeck export` are in the server's log.
create or replace view ops.audit as
select
    at,
    coalesce(facts ->> 'by', 'the platform') as who,
    case stage
        when 'export' then 'read' when 'approve' then 'approved' when 'gate' then 'judged' when 'erase' then 'erased' when 'retention' then 'deleted'
        else 'changed' end as did,
    stage || case partition_key when 'all' then '' else ' of ' || partition_key end as what,
    state,
    code,
    case when stage in ('export', 'approve', 'erase', 'retention') then facts
        when stage = 'gate' then jsonb_build_object('decision', facts -> 'decision', 'reasons', facts -> 'reasons')
        else outputs - 'release' end as details
from ops.ledger where state not in ('planned', 'started')
union all
select
    at,
    coalesce(evidence ->> 'by', 'the platform'),
    case state when 'champion' then 'promoted' else state end,
    'version ' || model_version || ' for ' || partition_key,
    state,
    code,
    jsonb_build_object('share', share, 'reasons', reasons)
from ops.deployments
union all
select
    at,
    by,
    'repaired',
    'a row of ' || source_table || ' of ' || partition_key,
    state,
    rule,
    jsonb_build_object('id', id, 'reason', reason)
from quarantine.rows where rule is not null;
alter view ops.audit owner to worker;

grant usage on schema raw, staging, intermediate, marts, quarantine, ops to reader;
grant usage on schema raw, marts, ops to serving;
alter default privileges for role worker grant select on tables to reader;
alter default privileges for role worker in schema raw, marts grant select on tables to serving;
-- `reader` reads all but these; governance/grants.py writes them.
set role worker;
create table if not exists ops.withheld (relation text, "column" text, primary key (relation, "column"));
create or replace function ops.let_read() returns void language plpgsql as $$
declare
    found record;
begin
    -- two at once would change the same rows of the catalog
    perform pg_advisory_xact_lock(hashtextextended('let_read', 0));
    for found in
        select
            format('%I.%I', n.nspname, c.relname) as name,
            string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where w.relation is null) as others,
            count(w.relation) as withheld
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join ops.withheld w on w.relation = n.nspname || '.' || c.relname and w."column" = a.attname
        -- what somebody else has put there is theirs to grant
        where c.relkind in ('r', 'p', 'v', 'm') and pg_has_role(c.relowner, 'usage') and n.nspname in ('landing', 'raw', 'staging', 'intermediate', 'marts', 'quarantine', 'ops')
        group by n.nspname, c.relname
    loop
        begin
            if found.withheld = 0 then
                execute format('grant select on %s to reader', found.name);
            else
                execute format('revoke select on %s from reader', found.name);
                if found.others is not null then
                    execute format('grant select (%s) on %s to reader', found.others, found.name);
                end if;
            end if;
        exception when undefined_table then
            -- a load has dropped it meanwhile
            null;
        end;
    end loop;
    -- what has just landed is in tables that come and go
    if exists (select from ops.withheld where relation like 'raw.%') then
        revoke usage on schema landing from reader;
    else
        grant usage on schema landing to reader;
    end if;
end $$;
select ops.let_read();
reset role;
grant select on all tables in schema raw, marts to serving;
grant select on ops.ledger, ops.deployments, ops.published to serving;
grant insert on ops.predictions to serving;
grant usage on schema ops to receiver;
grant select, insert, update on ops.incidents to receiver;
