"""Questions: GET and POST /api/search, and the first front end's POST /api/predict-image."""

import asyncio
import base64
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery

from app.answers import search_answer
from app.pictures import reduced_picture
from app.routes.forms import AnyRequest, Picture, documented_body, json_object, read_body
from app.routes.questions import read_question
from app.search import DEFAULT_K, Question, search
from app.search_schemas import ReportedAnswer, ReportedHit, ReportedRequest, SearchAnswer, SearchRequest
from app.service import Service
from app.terms import DEFAULT_ALPHA, words_and_picture
from db.searching import Hit, Sort

REPORTED_K = 5
REPORTED_PX = 1024


@get("/api/search", tags=["search"], operation_id="search", opt={"problems": (404, 409)})
async def search_by_address(
    service: NamedDependency[Service],
    text: FromQuery[str | None] = None,
    image_id: FromQuery[UUID | None] = None,
    alpha: FromQuery[float] = DEFAULT_ALPHA,
    k: FromQuery[int] = DEFAULT_K,
    offset: FromQuery[int] = 0,
    collection: FromQuery[str | None] = None,
    attributes: FromQuery[str | None] = None,
    exclude: FromQuery[list[UUID] | None] = None,
    exclude_self: FromQuery[bool] = False,
    taken_from: FromQuery[str | None] = None,
    taken_to: FromQuery[str | None] = None,
    min_score: FromQuery[float | None] = None,
    sort: FromQuery[Sort] = "relevance",
    exact: FromQuery[bool] = False,
    min_width: FromQuery[int | None] = None,
    min_height: FromQuery[int | None] = None,
    caption_weight: FromQuery[float] = 0.0,
    normalise: FromQuery[bool] = False,
    fold_duplicates: FromQuery[float | None] = None,
    background: FromQuery[bool] = False,
    rerank: FromQuery[bool] = False,
    literal: FromQuery[bool] = False,
    balanced: FromQuery[bool] = False,
    more: FromQuery[list[UUID] | None] = None,
    less: FromQuery[list[UUID] | None] = None,
) -> SearchAnswer:
    """Search by words, by a picture of the gallery, or by both; alpha is the weight of the words.

    attributes is a JSON object: only pictures whose attributes contain it may answer.
    """
    contained = None if attributes is None else json_object("attributes", attributes)
    request = SearchRequest(
        text=text,
        image_id=image_id,
        alpha=alpha,
        k=k,
        offset=offset,
        collection=collection,
        attributes=contained,
        exclude=exclude or [],
        exclude_self=exclude_self,
        taken_from=taken_from,
        taken_to=taken_to,
        min_score=min_score,
        sort=sort,
        exact=exact,
        min_width=min_width,
        min_height=min_height,
        caption_weight=caption_weight,
        normalise=normalise,
        fold_duplicates=fold_duplicates,
        background=background,
        rerank=rerank,
        literal=literal,
        balanced=balanced,
        more=more or [],
        less=less or [],
    )
    return await _answer(service, request, None)


@post(
    "/api/search",
    status_code=200,
    tags=["search"],
    operation_id="searchWithPicture",
    operation_class=documented_body(SearchRequest, "image", json=True),
    opt={"problems": (404, 409, 410)},
)
async def search_by_body(request: AnyRequest, service: NamedDependency[Service]) -> SearchAnswer:
    """Search by words, by a picture (a file, base64, or one of the gallery), or by both.

    Send JSON, or a form with the picture as a file in the field image.
    """
    asked, picture = await read_body(request, SearchRequest)
    return await _answer(service, asked, picture)


@post(
    "/api/predict-image",
    status_code=200,
    tags=["search"],
    operation_id="predictImage",
    operation_class=documented_body(ReportedRequest, "file", json=False),
    opt={"problems": (404, 410)},
)
async def predict_image(request: AnyRequest, service: NamedDependency[Service]) -> ReportedAnswer:
    """Answer the first front end: fields query, file and alpha; the five best come back as data: URIs."""
    asked, picture = await read_body(request, ReportedRequest, picture_field="file", json=False)
    terms = words_and_picture(text=asked.query, picture=picture.data if picture else None, alpha=asked.alpha)
    answer = await search(service, Question(terms, k=REPORTED_K))
    return ReportedAnswer(top5=await asyncio.gather(*(_reported(service, hit) for hit in answer.hits)))


async def _answer(service: Service, asked: SearchRequest, picture: Picture | None) -> SearchAnswer:
    question = read_question(asked, picture)
    return search_answer(question, await search(service, question))


async def _reported(service: Service, hit: Hit) -> ReportedHit:
    jpeg = await reduced_picture(service, hit.id, REPORTED_PX)
    return ReportedHit(image="data:image/jpeg;base64," + base64.b64encode(jpeg).decode(), score=hit.score)
