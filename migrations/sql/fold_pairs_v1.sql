-- fold_pairs(pictures, worse, better): of pictures numbered from 1, best first, which stands for which.
--
--   select image_retrieval.fold_pairs(4, '{2,3,4}', '{1,2,3}');   -- {1,1,3,3}
--
-- worse[i] and better[i] nearly repeat each other; pairs come sorted by worse, then better. A picture is folded under
-- the first before it that stands for itself. So every picture of a stack is close to the one that is shown, and a
-- burst does not chain pictures that are unlike each other, as 1 and 3 above. The others stand for themselves.
create function fold_pairs(pictures integer, worse integer[], better integer[])
returns integer[]
language plpgsql immutable parallel safe
set search_path from current
as $$
declare
    shown_by integer[] := array(select generate_series(1, pictures));
begin
    for i in 1 .. coalesce(cardinality(worse), 0) loop
        if shown_by[worse[i]] = worse[i] and shown_by[better[i]] = better[i] then
            shown_by[worse[i]] := better[i];
        end if;
    end loop;
    return shown_by;
end;
$$;

comment on function fold_pairs is 'Of pictures that nearly repeat each other, best first, which stands for which';
