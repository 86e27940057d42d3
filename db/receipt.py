"""The statement that gives an answer's rows in any client: what search_images ran, written out."""

from psycopg.sql import SQL, Literal
from psycopg.types.json import Jsonb

from db.composing import Composition, query_expression
from db.searching import NEARNESS, Filters, Ranking, Sort


def receipt_sql(
    composition: Composition,
    *,
    k: int,
    skip: int = 0,
    filters: Filters,
    sort: Sort = "relevance",
    exact: bool = False,
    ranking: Ranking = NEARNESS,
    background: bool = False,
) -> str:
    """Return a select of rank, image_id, uri and score; arguments as db.searching.search_images has them.

    With background, of each score's percentile too, and of what is no nearer than chance.

    No name in it needs a search_path, and whatever came from outside is a quoted value.
    """
    asked: dict[str, object] = {
        "collection": filters.collection,
        "attributes": None if filters.attributes is None else Jsonb(dict(filters.attributes)),
        "skip": skip or None,
        "exact": exact or None,
        "exclude": list(filters.exclude) or None,
        "taken_from": filters.taken_from,
        "taken_to": filters.taken_to,
        "min_score": filters.min_score,
        "sort": None if sort == "relevance" else sort,
        "min_width": filters.min_width,
        "min_height": filters.min_height,
        "caption_query": ranking.caption_query if ranking.caption_weight else None,
        "caption_weight": ranking.caption_weight or None,
        "normalise": ranking.normalise or None,
        "fold_duplicates": ranking.fold_duplicates,
    }
    named = [
        SQL(",\n    {} => {}").format(SQL(name), Literal(value))
        for name, value in asked.items()
        if value is not None
    ]
    query = query_expression(composition)
    hits = SQL("\nfrom image_retrieval.search_images(\n    {},\n    {}{}\n)").format(
        query, Literal(k), SQL("").join(named)
    )
    if not background:
        return (SQL("select rank, image_id, uri, score") + hits + SQL("\norder by rank;")).as_string()
    drawn = SQL(",\nimage_retrieval.background_scores(\n    {},\n    {}\n) as background").format(
        query, Literal(filters.collection)
    )
    columns = SQL(
        "select rank, image_id, uri, score,\n"
        "       image_retrieval.percentile_of(score, background.scores) as percentile, background.chance"
    )
    return (columns + hits + drawn + SQL("\norder by rank;")).as_string()
