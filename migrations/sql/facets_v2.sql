-- facets(collection, most_keys, most_values): the attributes that pictures have, and how many have each value.
--
--   select * from image_retrieval.facets();
--
-- value is what to filter by: search_images(…, attributes => jsonb_build_object(key, value)). So an element of a list
-- is a list of one; an object is no value to choose, and is left out. The most frequent first, keys and values alike.
-- Lists are looked at apart, for only they can hold a value twice: counting distinct pictures took ten times as long.
create or replace function facets(
    collection text default null, most_keys integer default 20, most_values integer default 20
)
returns table (key text, value jsonb, count bigint)
language sql stable
set search_path from current
as $$
    with said as (
        select attribute.key, attribute.value
        from images
        cross join lateral jsonb_each(images.attributes) as attribute
        where (facets.collection is null or images.collection = facets.collection)
          and jsonb_typeof(attribute.value) in ('string', 'number', 'boolean')
        union all
        select attribute.key, jsonb_build_array(element.value)
        from images
        cross join lateral jsonb_each(images.attributes) as attribute
        cross join lateral (
            select distinct elements.value
            from jsonb_array_elements(
                case jsonb_typeof(attribute.value) when 'array' then attribute.value else '[]' end
            ) as elements
            where jsonb_typeof(elements.value) in ('string', 'number', 'boolean')
        ) as element
        where (facets.collection is null or images.collection = facets.collection)
          and jsonb_typeof(attribute.value) = 'array'
    ),
    counted as (
        select said.key, said.value, count(*) as pictures from said group by said.key, said.value
    ),
    placed as (
        select counted.*,
               row_number() over (partition by counted.key order by counted.pictures desc, counted.value) as place,
               sum(counted.pictures) over (partition by counted.key) as of_key
        from counted
    ),
    chosen as (
        select placed.*, dense_rank() over (order by placed.of_key desc, placed.key) as key_place from placed
    )
    select chosen.key, chosen.value, chosen.pictures
    from chosen
    where chosen.key_place <= most_keys and chosen.place <= most_values
    order by chosen.key_place, chosen.place;
$$;
