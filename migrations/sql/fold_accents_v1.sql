-- fold_accents(body): lower case without accents, for searching what was typed without them.
--
--   select image_retrieval.fold_accents('Đường phố');   -- duong pho
--
-- NFD splits a letter from its accents; đ is a letter of its own, which NFD leaves alone.
create function fold_accents(body text)
returns text
language sql immutable strict parallel safe
return lower(translate(regexp_replace(normalize(body, nfd), '[\u0300-\u036f]', '', 'g'), 'Đđ', 'Dd'));

comment on function fold_accents is 'Lower case without accents (Đường -> duong)';
