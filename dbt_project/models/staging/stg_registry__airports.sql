with source as (

    select * from {{ source('registry', 'airports') }}

),

united as (

    select
        faa,
        tzone,
        true as registered
    from source
    where tzone is not null
    union all
    select
        faa,
        tzone,
        false as registered
    from {{ ref('territory_airports') }}
    where faa not in (select source.faa from source)

)

select * from united
