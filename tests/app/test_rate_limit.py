"""How often one caller may ask: the buckets, and what travels over HTTP."""

import dataclasses
import math

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.main import create_app
from app.rate_limit import RateLimiter, household
from app.service import Service
from app.settings import Settings
from tests.app.conftest import connect
from tests.app.test_access import SEARCH, ask, elsewhere, make_key
from tests.app.test_search_api import is_problem


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.integers(1, 600),
    pauses=st.lists(st.floats(0, 30, allow_nan=False), max_size=300),
)
def test_nobody_passes_more_often_than_a_burst_and_the_rate(rate: int, pauses: list[float]) -> None:
    clock = Clock()
    limiter, start, passed = RateLimiter(clock=clock), clock.now, 0
    for pause in pauses:
        clock.now += pause
        allowance = limiter.take("one", rate)
        passed += not allowance.wait_s
        assert 0 <= allowance.remaining < rate + 1
        assert passed <= rate + (clock.now - start) * rate / 60 + 1e-6


@given(rate=st.integers(1, 600))
def test_who_waits_as_long_as_told_passes(rate: int) -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    for _ in range(rate):
        assert limiter.take("one", rate).wait_s == 0
    refused = limiter.take("one", rate)
    assert 1 <= refused.wait_s <= math.ceil(60 / rate)
    clock.now += refused.wait_s
    assert limiter.take("one", rate).wait_s == 0


def test_callers_do_not_take_from_each_other() -> None:
    limiter = RateLimiter(clock=Clock())
    limiter.take("one", 1)
    assert limiter.take("one", 1).wait_s
    assert not limiter.take("other", 1).wait_s


def test_a_million_callers_take_no_more_memory_than_the_most() -> None:
    limiter = RateLimiter(most_callers=100, clock=Clock())
    for number in range(10_000):
        limiter.take(f"caller {number}", 60)
        limiter.take("frequent", 10_000)
    assert len(limiter) == 100
    assert limiter.take("frequent", 10_000).wait_s  # who keeps asking is not forgotten


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("unknown", "unknown", True),
    ],
)
def test_a_household_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (household(one) == household(other)) is same


async def test_too_many_requests_are_429_and_say_when_to_come_again(
    service: Service, settings: Settings
) -> None:
    limited = settings.replace(host="0.0.0.0", rate_per_address=3)
    async with elsewhere(limited, service) as client:
        answers = [await ask(client) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        refused = answers[-1]
        assert is_problem(refused, 429)
        assert refused.headers["ratelimit-limit"] == "3"
        assert 50 <= int(refused.headers["ratelimit-reset"]) <= 60
        assert 15 <= int(refused.headers["retry-after"]) <= 20
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_addresses_and_keys_have_limits_of_their_own(service: Service, settings: Settings) -> None:
    limited = settings.replace(host="0.0.0.0", rate_per_address=1, rate_per_key=2)
    keys = [await make_key(service, "read", name) for name in ("one", "other")]
    async with elsewhere(limited, service) as client:
        assert [(await ask(client)).status_code for _ in range(2)] == [200, 429]
        for key in keys:
            statuses = [(await ask(client, **{"x-api-key": key})).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]


async def test_a_household_shares_its_limit(service: Service, settings: Settings) -> None:
    limited = settings.replace(host="0.0.0.0", rate_per_address=1)
    app = create_app(limited)
    app.state.service = dataclasses.replace(service, settings=limited)
    statuses = []
    for address in ("2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1"):
        transport = httpx.ASGITransport(app, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://photos.example") as client:
            statuses.append((await ask(client)).status_code)
    assert statuses == [200, 429, 200]


async def test_the_write_key_is_limited_as_a_key(service: Service, settings: Settings) -> None:
    limited = settings.replace(host="0.0.0.0", write_key="let-me-in", rate_per_address=1, rate_per_key=2)
    async with elsewhere(limited, service) as client:
        statuses = [(await ask(client, **{"x-api-key": "let-me-in"})).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_whoever_guesses_keys_is_soon_turned_away_unasked(service: Service, settings: Settings) -> None:
    limited = settings.replace(host="0.0.0.0", rate_per_address=5)
    key = await make_key(service, "read")
    async with elsewhere(limited, service) as client:
        statuses = [
            (await ask(client, **{"x-api-key": f"irk_{number:08x}_{'0' * 64}"})).status_code
            for number in range(7)
        ]
        assert statuses == [401] * 5 + [429] * 2
    async with connect(limited, service, address="203.0.113.10", base_url="http://photos.example") as other:
        assert (await ask(other, **{"x-api-key": key})).status_code == 200


async def test_this_machine_is_not_limited_unless_it_is_asked_for(
    service: Service, settings: Settings
) -> None:
    async with connect(settings, service) as client:
        assert "ratelimit-limit" not in (await ask(client)).headers
    async with connect(settings.replace(rate_per_address=1), service) as client:
        assert [(await ask(client)).status_code for _ in range(2)] == [200, 429]
    async with elsewhere(settings.replace(host="0.0.0.0"), service) as client:
        assert (await client.get("/api/search", params=SEARCH)).headers["ratelimit-limit"] == "1200"
    async with elsewhere(settings.replace(host="0.0.0.0", rate_per_address=0), service) as client:
        assert "ratelimit-limit" not in (await ask(client)).headers
