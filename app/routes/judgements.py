"""What people say of answers: POST /api/judgements."""

from litestar import post
from litestar.di import NamedDependency

from app.judgements import judge
from app.routes.forms import AnyRequest, documented_body, read_json
from app.search_schemas import JudgementAnswer, JudgementRequest
from app.service import Service


@post(
    "/api/judgements",
    tags=["search"],
    operation_id="judge",
    operation_class=documented_body(JudgementRequest, None, json=True),
    opt={"scope": "write", "problems": (404,)},
)
async def post_judgements(request: AnyRequest, service: NamedDependency[Service]) -> JudgementAnswer:
    """Note which pictures fit a question in words (more), and which do not (less); the last word counts."""
    said = await read_json(request, JudgementRequest)
    async with service.writing_pool.connection() as connection:
        await judge(
            connection, said.text, more=said.more, less=said.less,
            max_text_chars=service.settings.max_text_chars,
        )  # fmt: skip
    return JudgementAnswer(text=said.text, more=len(said.more), less=len(said.less))
