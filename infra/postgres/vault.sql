-- The keys of subjects' pseudonyms, in a database of their own: no backup holds it, and nothing else is in it. Runs at every start.
set role privacy;
create table if not exists keys (
    lookup bytea primary key,
    key bytea not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'),
    made_at timestamptz not null default now(),
    used_at timestamptz not null default now()
);
reset role;
grant usage on schema public to serving;
grant select (lookup, key), insert (lookup), update (used_at) on keys to serving;
-- what is done with the keys of people is in the server's log; whose they are is not
alter role privacy set log_statement = 'all';
alter role privacy set log_parameter_max_length = 0;
