-- search_text(words, k, collection, attributes): the k pictures nearest to words that were asked before.
--
--   select * from image_retrieval.search_text('a dog on the beach');
--
-- PostgreSQL has no encoder: words that nobody has asked the service or the command line, or not lately, are an error
-- (no_data_found) that says so. Further arguments and columns as in search_images.
create function search_text(
    words text,
    k integer default 5,
    collection text default null,
    attributes jsonb default null
)
returns setof ranked_hit
language plpgsql stable
rows 10
set search_path from current
as $$
declare
    query halfvec;
begin
    select known.embedding into query
    from text_embeddings as known
    join encoders on encoders.id = known.encoder_id and encoders.state = 'active'
    where known.digest = md5(normalize(trim(search_text.words), nfc))
      and known.words = normalize(trim(search_text.words), nfc);
    if not found then
        raise exception 'the active encoder has not been asked "%" lately', search_text.words
            using errcode = 'no_data_found',
                  hint = 'Ask once: image-retrieval search --text "…", or the service; then SQL can ask again.';
    end if;
    return query select * from search_images(query, search_text.k, search_text.collection, search_text.attributes);
end;
$$;

comment on function search_text is 'The k pictures nearest to words that were asked before; columns as ranked_hit';
