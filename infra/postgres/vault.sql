-- The keys of subjects' pseudonyms, in a database of their own: no backup holds it, and nothing else is in it. Runs at every start.
set role privacy;
create table if not exists keys (
    lookup bytea primary key,
    key bytea not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'),
    made_at timestamptz not null default now(),
    used_at timestamptz not null default now()
);
-- keys that nobody has used for so many days go; who may only do that learns nothing of them
create or replace function expire(days int) returns bigint language sql security definer set search_path = public as $$
    with gone as (delete from keys where used_at < now() - days * interval '1 day' returning 1) select count(*) from gone
$$;
revoke all on function expire from public;
grant execute on function expire to worker;
-- who has a subject may have its key, with a new one if it has none; and nobody but privacy can see whose keys there are
create or replace function key_of(wanted bytea) returns bytea language sql security definer set search_path = public as $$
    insert into keys (lookup) values (wanted) on conflict (lookup) do update set used_at = now() returning key
$$;
revoke all on function key_of from public;
grant execute on function key_of to serving, worker;
reset role;
grant usage on schema public to serving, worker;
-- what is done with the keys of people is in the server's log; whose they are is not
alter role privacy set log_statement = 'all';
alter role privacy set log_parameter_max_length = 0;
