with source as (

    select * from {{ source('registry', 'planes') }}

),

renamed as (

    select
        tailnum,
        year as built,
        seats
    from source

)

select * from renamed
