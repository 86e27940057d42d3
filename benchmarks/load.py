"""The service under load: many at once, more than it can do, clients that leave, clients that drip, large photos.

    python -m benchmarks.load --model CHECKPOINT --images FOLDER [--seconds 20] [batching steady overload …]

Limits, each printed beside its figure:
- batching: 64 callers at once get ≥ 4 times the answers a second that they get with batching off.
- steady: at 70 % of capacity no error, p99 ≤ 3 × p50.
- overload: at 3 × capacity ≥ 95 % of the peak goodput, the rest 503 in < 100 ms, no other status; well again in ≤ 10 s.
- cancelled: 1,000 questions given up at any moment leave no connection in use and none idle in transaction.
- dripping: 1,000 sockets that send a byte a second: others' p99 ≤ 1.5 ×, heads cut off in 10 s, bodies in 30 s.
- photos: 16 at once, each with a 12-megapixel JPEG: p95 ≤ 2 × that of one alone.
- soak: memory grows by ≤ 1 % an hour after the first tenth; files, threads and connections do not.

No text comes from the cache. Client and service share the machine: figures are lower bounds. --seconds is how
long each measurement runs; the issue's own are 600 (steady), 300 (overload) and 1,800 (soak).
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import psycopg
from PIL import Image

from benchmarks.served import (
    Client,
    at_rate,
    client,
    get,
    having,
    in_turn,
    index_folder,
    post,
    quantile_ms,
    service,
)
from db.embedded import start_embedded

AT_ONCE = 64
NO_CACHE = {"text_cache_size": 0, "recall_sample": 0.0}
BUSY = """
    select count(*) filter (where state = 'active'), count(*) filter (where state like 'idle in transaction%')
    from pg_stat_activity
    where application_name = 'image-retrieval'
"""


def report(what: str, figure: str, limit: str, *, held: bool) -> None:
    """Print one line."""
    print(f"{what:44} {figure:46} limit {limit:20} {'held' if held else 'SHORT'}", flush=True)


async def capacity(asking: Client, seconds: float) -> float:
    """Return the answers a second that 64 callers get, one question after the other each."""
    await in_turn(asking.search, callers=AT_ONCE, seconds=min(3.0, seconds), first=10**6)
    outcomes = await in_turn(asking.search, callers=AT_ONCE, seconds=seconds)
    return len(having(outcomes, 200)) / seconds


async def measure_batching(data_dir: Path, seconds: float) -> None:
    """64 callers, with batching and without; the two take turns."""
    rates: dict[int, list[float]] = {32: [], 1: []}
    for _ in range(2):
        for max_batch, found in rates.items():
            with service(data_dir, max_batch=max_batch, **NO_CACHE) as served:
                async with client(served) as asking:
                    found.append(await capacity(asking, seconds / 2))
    on, off = (float(np.mean(found)) for found in rates.values())
    figure = f"{on:.0f} against {off:.0f} answers/s: {on / off:.2f} ×"
    report(f"{AT_ONCE} callers, batching on against off", figure, "≥ 4 ×", held=on >= 4 * off)


async def measure_steady(data_dir: Path, seconds: float) -> None:
    """70 % of capacity."""
    with service(data_dir, **NO_CACHE) as served:
        async with client(served) as asking:
            rate = 0.7 * await capacity(asking, min(10.0, seconds))
            outcomes = await at_rate(asking.search, rate=rate, seconds=seconds, first=10**7)
    errors = len(outcomes) - len(having(outcomes, 200))
    p50, p95, p99 = (quantile_ms(outcomes, share) for share in (0.5, 0.95, 0.99))
    report(f"{rate:.0f} questions/s, 70 % of capacity: errors", str(errors), "0", held=errors == 0)
    figure = f"{p50:.1f} / {p95:.1f} / {p99:.1f} ms"
    report("the same: p50 / p95 / p99", figure, "p99 ≤ 3 × p50", held=p99 <= 3 * p50)


async def measure_overload(data_dir: Path, seconds: float) -> None:
    """3 × capacity, and how soon it is over."""
    with service(data_dir, **NO_CACHE) as served:
        async with client(served) as asking:
            peak = await capacity(asking, min(10.0, seconds))
            alone = quantile_ms(await in_turn(asking.search, callers=1, seconds=3.0, first=2 * 10**6), 0.5)
            outcomes = await at_rate(asking.search, rate=3 * peak, seconds=seconds, first=10**7)
            ended, recovered = time.perf_counter(), 99.0
            for number in range(1000):
                started = time.perf_counter()
                status = await asking.search(3 * 10**6 + number)
                if status == 200 and 1000 * (time.perf_counter() - started) < 2 * alone:
                    recovered = time.perf_counter() - ended
                    break
    answered, refused = having(outcomes, 200), having(outcomes, 503)
    goodput = len(answered) / (seconds * peak)
    report(
        f"{3 * peak:.0f} questions/s, 3 × capacity: goodput",
        f"{100 * goodput:.0f} % of the peak",
        "≥ 95 %",
        held=goodput >= 0.95,
    )
    p99 = quantile_ms(refused, 0.99)
    report(f"the same: {len(refused):,} refused, p99", f"{p99:.1f} ms", "< 100 ms", held=p99 < 100)
    others = len(outcomes) - len(answered) - len(refused)
    report("the same: any other status", str(others), "0", held=others == 0)
    report("well again after", f"{recovered:.2f} s", "≤ 10 s", held=recovered <= 10)


async def measure_cancelled(data_dir: Path, _seconds: float) -> None:
    """1,000 clients that leave within 50 ms."""
    chance = random.Random(0)

    async def come_and_go(asking: Client, number: int) -> None:
        _, writer = await asking.connect()
        writer.write(get(f"/api/search?text=picture+{number}"))
        await asyncio.sleep(chance.uniform(0, 0.05))
        writer.transport.abort()

    with service(data_dir, **NO_CACHE) as served:
        async with client(served) as asking:
            for _ in range(20):
                await asyncio.gather(*(come_and_go(asking, number) for number in range(50)))
            ended = time.perf_counter()
            with psycopg.connect(start_embedded(data_dir / "postgres"), autocommit=True) as connection:
                while time.perf_counter() < ended + 20:
                    _, metrics = await asking.send(get("/metrics"))
                    in_flight = sample(metrics, "requests_in_flight")
                    busy = connection.execute(BUSY).fetchone()
                    if (busy, in_flight) == ((0, 0), 0):
                        break
                    await asyncio.sleep(0.02)
            idle_after = time.perf_counter() - ended
            busy_pool = sample(metrics, 'pool_connections{pool="reading",state="busy"}')
    figure = f"{busy}, {in_flight:.0f} in flight after {idle_after:.2f} s"
    held = (busy, in_flight, busy_pool) == ((0, 0), 0, 0) and idle_after <= 1
    report("1,000 given up: active, idle in transaction", figure, "none in ≤ 1 s", held=held)


def sample(metrics: bytes, name: str) -> float:
    """Return one sample of /metrics."""
    line = next(line for line in metrics.decode().splitlines() if line.startswith(f"image_retrieval_{name} "))
    return float(line.rpartition(" ")[2])


async def measure_dripping(data_dir: Path, seconds: float) -> None:
    """1,000 sockets, half of them in their heads."""
    upload = b"POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 900000\r\n\r\n"

    async def drip(asking: Client, number: int) -> float:
        reader, writer = await asking.connect()
        started = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\n" if number % 2 else upload)
        closed = asyncio.create_task(reader.read())
        while not (await asyncio.wait({closed}, timeout=1))[0]:
            writer.write(b"x")
        closed.exception()
        writer.transport.abort()
        return time.perf_counter() - started

    with service(data_dir, **NO_CACHE) as served:
        async with client(served) as asking:
            rate = 0.3 * await capacity(asking, 5.0)
            before = await at_rate(asking.search, rate=rate, seconds=max(seconds, 15.0), first=10**7)
            drips = [asyncio.create_task(drip(asking, number)) for number in range(1000)]
            during = await at_rate(asking.search, rate=rate, seconds=28.0, first=2 * 10**7)
            lasted = await asyncio.gather(*drips)
    quiet, disturbed = quantile_ms(before, 0.99), quantile_ms(during, 0.99)
    figure = f"{disturbed:.1f} against {quiet:.1f} ms: {disturbed / quiet:.2f} ×"
    report("others' p99 beside 1,000 dripping sockets", figure, "≤ 1.5 ×", held=disturbed <= 1.5 * quiet)
    heads, bodies = max(lasted[1::2]), max(lasted[::2])
    report(
        "the last head, the last body cut off",
        f"{heads:.1f} s, {bodies:.1f} s",
        "≤ 11 s, ≤ 31 s",
        held=heads <= 11 and bodies <= 31,
    )


async def measure_photos(data_dir: Path, seconds: float) -> None:
    """12-megapixel photos: smooth shapes with a little noise, as a camera's JPEG is."""
    grid = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(grid).resize((4000, 3000), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    body = (
        b'--b\r\ncontent-disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
        + file.getvalue()
        + b"\r\n--b--\r\n"
    )
    request = post("/api/search", "multipart/form-data; boundary=b", body)
    with service(data_dir, **NO_CACHE) as served:
        async with client(served) as asking:

            async def ask(_number: int) -> int:
                return (await asking.send(request))[0]

            await in_turn(ask, callers=1, seconds=2.0)
            alone = await in_turn(ask, callers=1, seconds=seconds)
            crowd = await in_turn(ask, callers=16, seconds=seconds)
    assert {outcome.status for outcome in alone + crowd} == {200}
    one, many = quantile_ms(alone, 0.95), quantile_ms(crowd, 0.95)
    figure = f"{many:.0f} against {one:.0f} ms: {many / one:.2f} ×, {len(crowd) / seconds:.1f}/s"
    report("16 callers with 12-megapixel photos: p95", figure, "≤ 2 × alone", held=many <= 2 * one)


async def measure_soak(data_dir: Path, seconds: float) -> None:
    """Half of capacity, the process looked at a hundred times."""
    with service(data_dir, **NO_CACHE) as served:
        watched = psutil.Process(served.process.pid)
        seen: list[tuple[float, float, int, int]] = []
        async with client(served) as asking:
            rate = 0.5 * await capacity(asking, 5.0)
            for part in range(100):
                await at_rate(asking.search, rate=rate, seconds=seconds / 100, first=10**7 * (part + 1))
                seen.append(
                    (time.perf_counter(), watched.memory_info().rss, watched.num_fds(), watched.num_threads())
                )
    times, memory, files, threads = np.array(seen[10:]).T
    per_hour = 3600 * np.polyfit(times, memory, 1)[0] / memory[0]
    report(
        f"{seconds:.0f} s of {rate:.0f} questions/s: memory",
        f"{100 * per_hour:+.1f} % an hour",
        "≤ 1 % an hour",
        held=per_hour <= 0.01,
    )
    for what, counts in (("files", files), ("threads", threads)):
        grown = int(counts[-1] - counts[0])
        report(f"the same: {what}", f"{grown:+d} from {int(counts[0])}", "0", held=grown <= 0)


MEASURES: dict[str, Callable[[Path, float], Awaitable[None]]] = {
    "batching": measure_batching,
    "steady": measure_steady,
    "overload": measure_overload,
    "cancelled": measure_cancelled,
    "dripping": measure_dripping,
    "photos": measure_photos,
    "soak": measure_soak,
}


async def measure(model: str, images: Path, which: list[str], seconds: float, data_dir: Path) -> None:
    """Index once, then measure one after the other."""
    index_folder(model, images, data_dir)
    for name in which:
        await MEASURES[name](data_dir, seconds)


def main() -> None:
    """Read the arguments and measure in a temporary data folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", nargs="*", choices=[*MEASURES, []], help="all but soak unless named")
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    which = arguments.which or [name for name in MEASURES if name != "soak"]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(arguments.model, arguments.images, which, arguments.seconds, Path(folder)))


if __name__ == "__main__":
    main()
