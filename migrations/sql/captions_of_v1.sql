-- captions_of(image_id): what was said about one picture, in order.
--
--   select * from image_retrieval.captions_of('01234567-89ab-8def-8123-456789abcdef');
create function captions_of(image_id uuid)
returns table ("position" smallint, language text, body text)
language sql stable parallel safe
set search_path from current
as $$
    select position, language, body
    from captions
    where captions.image_id = captions_of.image_id
    order by position;
$$;

comment on function captions_of is 'The captions of one picture, in order';
