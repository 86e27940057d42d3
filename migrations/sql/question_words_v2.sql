-- question_words(words): the words of a question, and how much each tells.
--
--   select * from image_retrieval.question_words('một con chó trên bãi biển');
--
-- word      in lower case, as it was written
-- typed     what a caption must match to have it as it was written, folded: to have its letters, whatever the accents
-- rarity    ln(1 / share of the captions that have it): there is next to nothing in that of "a", and a lot in a name's
-- captions  about how many captions have it
--
-- The shares are PostgreSQL's own statistics of captions.search, which ANALYZE brings up to date: counting would take
-- as long as searching. A word that is not among the most frequent is taken to be half as frequent as the last of them;
-- without statistics all words tell the same (v1 let them tell nothing). Of a long question the 32 rarest words count.
create or replace function question_words(words text)
returns table (word text, typed tsquery, folded tsquery, rarity double precision, captions double precision)
language sql stable
rows 10
set search_path from current
as $$
    with asked as (
        select distinct on (fold_accents(lexeme)) lexeme as typed, fold_accents(lexeme) as folded
        from unnest(to_tsvector('simple', normalize(words, nfc))) as asked (lexeme, places, weights)
        order by fold_accents(lexeme), lexeme desc
    ),
    statistics as materialized (
        select most_common_elems::text::text[] as frequent, most_common_elem_freqs as shares
        from pg_stats
        where schemaname = 'image_retrieval' and tablename = 'captions' and attname = 'search'
    ),
    known as (
        select frequent.word, frequent.share
        from statistics, unnest(statistics.frequent, statistics.shares) as frequent (word, share)
        where frequent.word is not null
    ),
    rarest as (select min(share) / 2 as share from known)
    select asked.typed,
           ('''' || replace(replace(asked.typed, '\', '\\'), '''', '''''') || ''':A')::tsquery,
           ('''' || replace(replace(asked.folded, '\', '\\'), '''', '''''') || ''':D')::tsquery,
           coalesce(-ln(coalesce(known.share, rarest.share)), 1),
           coalesce(known.share, rarest.share, 0)
               * (select greatest(reltuples, 0) from pg_class where oid = 'captions'::regclass)
    from asked
    cross join rarest
    left join known on known.word = asked.folded
    order by 4 desc, asked.typed
    limit 32;
$$;
