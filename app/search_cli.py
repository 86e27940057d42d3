"""`image-retrieval search …`: a question on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

import click
import msgspec

from app.running import run_async
from app.settings import Settings
from db.duplicates import MAX_DISTANCE
from db.searching import Sort

if TYPE_CHECKING:
    from app.search_schemas import SearchAnswer
    from app.terms import Term


@click.command()
@click.argument("question", nargs=-1)
@click.option("--text", help="Words to search by, whatever they look like.")
@click.option(
    "--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A picture to search by."
)
@click.option("--id", "image_id", type=click.UUID, help="A picture of the gallery to search by.")
@click.option("--alpha", type=float, default=0.6, help="Weight of --text; --image or --id has the rest.")
@click.option("-k", type=int, default=5, help="Most hits wanted.")
@click.option("--offset", type=int, default=0, help="Hits to leave out first.")
@click.option("--collection", help="Only pictures of this collection.")
@click.option("--exclude", type=click.UUID, multiple=True, help="Never this picture; may be given again.")
@click.option(
    "--exclude-self", is_flag=True, help="Never the gallery's pictures that the question is made of."
)
@click.option("--min-score", type=float, help="Only hits with at least this score.")
@click.option(
    "--sort", type=click.Choice(get_args(Sort)), default="relevance", help="newest, oldest: of the 200 best."
)
@click.option(
    "--caption-weight", type=click.FloatRange(0, 1), default=0.0, help="Weight of the words in captions."
)
@click.option("--normalise", is_flag=True, help="Hold back pictures that are near to whatever is asked.")
@click.option(
    "--fold-duplicates",
    type=click.FloatRange(0, 2),
    is_flag=False,
    flag_value=MAX_DISTANCE,
    help="Fold pictures within this cosine distance under the best of them.  [alone: 0.02]",
)
@click.option("--rerank", is_flag=True, help="Have the reranker of the settings order the hits.")
@click.option("--literal", is_flag=True, help='Words as they are: "without" and "no" negate nothing.')
@click.option("--balanced", is_flag=True, help="Scale each part by the spread of its scores.")
@click.option("--more", type=click.UUID, multiple=True, help="More like this picture; may be given again.")
@click.option("--less", type=click.UUID, multiple=True, help="Less like this picture; may be given again.")
@click.option("--exact", is_flag=True, help="Compare with every picture instead of asking the index.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer in the API's own form.")
def search(
    question: tuple[str, ...], text: str | None, image: Path | None, image_id: UUID | None, alpha: float,
    k: int, offset: int, collection: str | None, exclude: tuple[UUID, ...], exclude_self: bool,
    min_score: float | None, sort: Sort, caption_weight: float, normalise: bool,
    fold_duplicates: float | None, rerank: bool, literal: bool, balanced: bool,
    more: tuple[UUID, ...], less: tuple[UUID, ...], exact: bool, as_json: bool,
) -> None:  # fmt: skip
    """Search by a QUESTION of words, files and ids, added and subtracted, each multiplied.

    \b
        image-retrieval search a dog on the beach
        image-retrieval search "2: golden retriever" + pool.jpg - fruit
    """  # noqa: D301 - click wants the backspace
    from app.answers import search_answer
    from app.search import Question, check, without_itself
    from app.search import search as answer_question
    from app.service import open_service
    from db.searching import Filters

    settings = Settings.from_env()
    terms = _terms(question, text, image, image_id, alpha)
    filters = Filters(collection=collection, exclude=exclude, min_score=min_score)
    if exclude_self:
        filters = without_itself(filters, terms, more, less)
    asked = Question(
        terms,
        alpha=alpha,
        k=k,
        offset=offset,
        filters=filters,
        sort=sort,
        exact=exact,
        caption_weight=caption_weight,
        normalise=normalise,
        fold_duplicates=fold_duplicates,
        background=True,
        rerank=rerank,
        literal=literal,
        balanced=balanced,
        more=more,
        less=less,
    )
    check(asked, max_k=settings.max_k, max_text_chars=settings.max_text_chars)  # before the encoder is loaded

    async def run() -> Any:
        async with open_service(settings) as service:
            return search_answer(asked, await answer_question(service, asked))

    answer = run_async(run())
    if as_json:
        click.echo(msgspec.json.encode(answer))
    else:
        _print(answer)


def _terms(
    question: tuple[str, ...], text: str | None, image: Path | None, image_id: UUID | None, alpha: float
) -> "tuple[Term, ...]":
    from app.expression import read_expression
    from app.terms import words_and_picture

    if not question:
        return words_and_picture(
            text=text,
            picture=None if image is None else image.read_bytes(),
            picture_name="" if image is None else str(image),
            image_id=image_id,
            alpha=alpha,
        )
    if text is not None or image is not None or image_id is not None:
        raise click.UsageError(
            "the question is given, and --text, --image or --id beside it; add them with +"
        )
    return read_expression(question)


def _print(answer: "SearchAnswer") -> None:
    for term in answer.query.terms:
        if term.without:
            negated = ", ".join(term.without)
            click.echo(f"understood: {term.understood or 'anything'}, without {negated}", err=True)
    if answer.query.truncated:
        click.echo("a word is longer than the encoder reads; only its beginning counts", err=True)
    if not answer.hits:
        click.echo("no picture matches", err=True)
    if answer.background and answer.background.nothing_near and not answer.query.offset:
        click.echo("nothing here is closer than chance", err=True)
    for hit in answer.hits:
        caption = f"  {hit.captions[0]}" if hit.captions else ""
        folded = f"  (+{len(hit.stack)})" if hit.stack else ""
        click.echo(f"{hit.rank:>3}  {hit.score:.3f}  {hit.collection}/{hit.uri}{folded}{caption}")
