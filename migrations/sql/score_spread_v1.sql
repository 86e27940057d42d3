-- score_spread(direction): how far apart the gallery's pictures lie along a direction, as a standard deviation.
--
--   select image_retrieval.score_spread((select embedding::vector from image_retrieval.gallery limit 1));
--
-- Pictures score higher, and further apart, with a picture than with words (the modality gap: Liang et al. 2022, arXiv
-- 2203.02053). So parts of a question are weighed against each other by their spreads: balanced_query, feedback_query.
-- Over the first 1000 pictures; null in a gallery of fewer than two.
create function score_spread(direction vector)
returns double precision
language sql stable
set search_path from current
set jit = off
as $$
    select stddev_samp(-(embedding::vector <#> direction))
    from (select embedding from gallery order by id limit 1000) as sample
$$;

comment on function score_spread is 'Standard deviation of the gallery''s scores along a direction, over 1000 pictures';
