"""The questions that docs/api.md shows can be asked."""

import json
import re

import httpx
import pytest

from tests.app.events import ask
from tests.conftest import ROOT

QUESTIONS = re.findall(
    r"^```json\n(.*?)^```$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_every_question_on_the_page_is_answered(client: httpx.AsyncClient, question: str) -> None:
    hits = (await client.get("/api/search", params={"text": "x", "k": 2})).json()["hits"]
    there = {"PICTURE": hits[0]["id"], "ANOTHER": hits[1]["id"], "COLLECTION": "colours"}
    for name, id_ in there.items():
        question = question.replace(name, id_)
    body = json.loads(question)
    response = await client.post("/api/search", json=body)
    assert response.status_code == 200, response.text
    events = await ask(client, {**body, "language": "vi"})
    assert events[-1][0] == "done"


async def test_the_page_names_every_event_and_field_of_a_term(client: httpx.AsyncClient) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    document = (await client.get("/schema/openapi.json")).json()
    fields = document["paths"]["/api/ask"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = {*fields["properties"], *fields["properties"]["terms"]["anyOf"][0]["items"]["properties"]}
    assert {name for name in names if f"`{name}`" not in page and f'"{name}"' not in page} <= {"exact"}
    assert len(QUESTIONS) == 5
