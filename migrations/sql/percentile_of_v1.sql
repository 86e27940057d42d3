-- percentile_of(score, scores): of a hundred random pictures, how many score less than this one.
--
--   select image_retrieval.percentile_of(0.31, '{0.1,0.2,0.3,0.4}');   -- 75
--
-- scores are background_scores', ascending. 100: it scores more than any picture of the sample.
create function percentile_of(score double precision, scores double precision[])
returns double precision
language sql immutable strict parallel safe
return 100.0 * width_bucket(score, scores) / nullif(cardinality(scores), 0);

comment on function percentile_of is 'Of a hundred random pictures, how many score less; scores by background_scores';
