-- gallery_centre(): the mean of the gallery's vectors: what all its pictures have in common.
--
--   select image_retrieval.gallery_centre();
--
-- Of the first 1000 pictures: ids are hashes, so that they are a fair sample, and the same one each time.
create function gallery_centre()
returns vector
language sql stable
set search_path from current
set jit = off
as $$
    select avg(embedding::vector) from (select embedding from gallery order by id limit 1000) as sample
$$;

comment on function gallery_centre is 'The mean of the gallery''s vectors, over a sample of 1000 pictures';
