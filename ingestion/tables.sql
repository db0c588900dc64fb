-- The raw tables of the worked example. Columns and types are those of the contracts, and what ingestion adds.
create table if not exists raw.flights (
    partition_key text not null, entity_id text not null, year int not null, month int not null, day int not null, dep_time int, sched_dep_time int not null,
    dep_delay int, arr_time int, sched_arr_time int not null, arr_delay int, carrier text not null, flight int not null, tailnum text,
    origin text not null, dest text not null, air_time int, distance int not null, hour int not null, minute int not null,
    time_hour timestamptz not null, recorded_at timestamptz not null, _dlt_load_id text not null
);
create unique index if not exists flights_entity on raw.flights (entity_id);
create index if not exists flights_partition on raw.flights (partition_key);
create table if not exists raw.weather (
    partition_key text not null, origin text not null, year int not null, month int not null, day int not null, hour int not null,
    temp double precision, dewp double precision, humid double precision, wind_dir double precision, wind_speed double precision,
    wind_gust double precision, precip double precision, pressure double precision, visib double precision, time_hour timestamptz not null,
    recorded_at timestamptz not null, _dlt_load_id text not null
);
create unique index if not exists weather_station_time on raw.weather (origin, time_hour);
create index if not exists weather_partition on raw.weather (partition_key);
create table if not exists raw.timetable (
    partition_key text not null, entity_id text not null, year int not null, month int not null, day int not null, sched_dep_time int not null,
    sched_arr_time int not null, carrier text not null, flight int not null, tailnum text, origin text not null, dest text not null,
    distance int not null, hour int not null, minute int not null, time_hour timestamptz not null, published_at timestamptz not null,
    _dlt_load_id text not null
);
create unique index if not exists timetable_entity on raw.timetable (entity_id);
create index if not exists timetable_partition on raw.timetable (partition_key);
-- Reference data have no partition of their own: the newest load replaces them whole.
create table if not exists raw.planes (
    tailnum text primary key, year int, type text, manufacturer text, model text, engines int, seats int, speed int, engine text, _dlt_load_id text not null
);
create table if not exists raw.airports (
    faa text primary key, name text not null, lat double precision, lon double precision, alt int, tz double precision, dst text, tzone text,
    _dlt_load_id text not null
);
create table if not exists raw.airlines (carrier text primary key, name text not null, _dlt_load_id text not null);
