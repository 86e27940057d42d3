-- facets(collection, most_keys, most_values): the attributes that pictures have, and how many have each value.
--
--   select * from image_retrieval.facets();
--
-- value is what to filter by: search_images(…, attributes => jsonb_build_object(key, value)). So an element of a list
-- is a list of one; an object is no value to choose, and is left out. The most frequent first, keys and values alike.
create function facets(collection text default null, most_keys integer default 20, most_values integer default 20)
returns table (key text, value jsonb, count bigint)
language sql stable
set search_path from current
as $$
    with said as (
        select images.id, attribute.key,
               case jsonb_typeof(attribute.value) when 'array' then jsonb_build_array(element.value) else element.value
               end as value
        from images
        cross join lateral jsonb_each(images.attributes) as attribute
        cross join lateral jsonb_array_elements(
            case jsonb_typeof(attribute.value)
                when 'array' then attribute.value
                else jsonb_build_array(attribute.value)
            end
        ) as element
        where (facets.collection is null or images.collection = facets.collection)
          and jsonb_typeof(element.value) in ('string', 'number', 'boolean')
    ),
    counted as (
        select said.key, said.value, count(distinct said.id) as pictures from said group by said.key, said.value
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

comment on function facets is 'The attributes that pictures have, and how many pictures have each value';
