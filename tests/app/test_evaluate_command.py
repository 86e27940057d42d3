"""`image-retrieval evaluate`, from captions files to figures, with an encoder and through the API."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import uvicorn
from click.testing import CliRunner, Result
from PIL import Image

from app.cli import main
from app.main import create_app
from app.service import Service
from app.settings import Settings
from embedding.encoder import load_encoder
from tests.app.conftest import COLOURS, picture
from tests.app.pictures import write_pictures
from tests.encoders import tiny_clip
from training.evaluate import evaluate_retrieval

PHOTOS = 14
WORDS = ("dog", "cat", "ball", "grass", "water", "beach", "boy", "hill")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return tiny_clip(folder / "one"), tiny_clip(folder / "other", seed=1)


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_RETRIEVAL_PRECISION", "float32")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Drawn photos 00000.jpg and so on."""
    folder = tmp_path / "photos"
    write_pictures(folder, PHOTOS)
    return folder


@pytest.fixture
def said(images: Path) -> dict[str, list[str]]:
    """Two or three captions a photo."""
    rng = np.random.default_rng(0)
    return {
        path.name: [f"a {' '.join(rng.choice(WORDS, 3))} {n} {m}" for m in range(2 + n % 2)]
        for n, path in enumerate(sorted(images.iterdir()))
    }


@pytest.fixture
def captions(said: dict[str, list[str]], tmp_path: Path) -> Path:
    return write_captions(tmp_path / "captions.txt", said)


def write_captions(path: Path, said: dict[str, list[str]]) -> Path:
    lines = [f"{name},{caption}" for name, captions in said.items() for caption in captions]
    path.write_text("image,caption\n" + "".join(f"{line}\n" for line in lines))
    return path


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def answered(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
    """Return the JSON object that comes last."""
    result = evaluate(*arguments, "--json", "--samples", 200)
    assert result.exit_code == exit_code, result.output
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def test_figures_are_those_of_the_encoder_with_intervals_around_them(
    images: Path, captions: Path, said: dict[str, list[str]], checkpoints: tuple[Path, Path]
) -> None:
    answer = answered("--model", checkpoints[0], "--images", images, "--captions", captions)
    encoder = load_encoder(str(checkpoints[0]), precision="float32")
    opened = [Image.open(images / name).convert("RGB") for name in said]
    expected = evaluate_retrieval(encoder, opened, list(said.values()))
    for direction in ("text_to_image", "image_to_text"):
        recall = getattr(expected, direction)
        for name in ("recall_at_1", "recall_at_5", "recall_at_10"):
            value = answer[direction][name]
            assert value == pytest.approx(getattr(recall, name), abs=1e-3)
            low, high = answer[direction]["intervals"][name]
            assert low <= value <= high
        figures = {"median_rank", "mean_rank", "mean_reciprocal_rank", "map_at_10"}
        assert figures <= answer[direction].keys()
        assert figures <= answer[direction]["intervals"].keys()
    recalls = [
        answer[direction][f"recall_at_{k}"]
        for direction in ("text_to_image", "image_to_text")
        for k in (1, 5, 10)
    ]
    assert answer["rsum"] == pytest.approx(sum(recalls), abs=1e-2)
    assert answer["rsum_interval"][0] <= answer["rsum"] <= answer["rsum_interval"][1]
    assert (answer["photos"], answer["captions"]) == (PHOTOS, PHOTOS * 2 + PHOTOS // 2)
    assert answer["failed"] == []
    assert answer["encoder"] == {"checkpoint": str(checkpoints[0]), "fingerprint": encoder.fingerprint}


def test_the_same_command_gives_the_same_answer(
    images: Path, captions: Path, checkpoints: tuple[Path, Path]
) -> None:
    asked = ("--model", checkpoints[0], "--images", images, "--captions", captions, "--hybrid")
    assert answered(*asked) == answered(*asked)


def test_the_table_is_readable_and_nothing_is_drawn_over_where_nobody_watches(
    images: Path, captions: Path, checkpoints: tuple[Path, Path]
) -> None:
    result = evaluate(
        "--model", checkpoints[0], "--compare", checkpoints[1], "--images", images, "--captions", captions,
        "--all", "--samples", 100,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for shown in ("14 photos, 35 captions", "text to image", "R@10", "RSUM", "nDCG@10", "0.6", "joined",
                  "backlit 3", "retention", "95% interval", "does not differ"):  # fmt: skip
        assert shown in result.stdout, shown
    assert "\r" not in result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 118


def test_everything_is_asked_of_both_encoders_and_their_difference_told(
    images: Path, captions: Path, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = checkpoints
    plots = tmp_path / "plots"
    answer = answered(
        "--model", one, "--compare", other, "--images", images, "--captions", captions, "--all",
        "--plots", plots,
    )  # fmt: skip
    assert list(answer["hybrid"]) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert set(answer["long_queries"]) == {"joined", "sentence_average", "best_single", "truncated"}
    assert set(answer["corruptions"]) == {"dark", "blurred", "backlit", "cropped", "noisy"}
    assert set(answer["corruptions"]["dark"]) == {"1", "2", "3", "mean"}
    assert {"recall_at_5", "retention_at_5"} <= answer["corruptions"]["noisy"]["2"].keys()
    assert {"ndcg_at_10", "precision_at_5", "map_at_10"} <= answer["image_to_image"].keys()

    comparison = answer["comparison"]
    alone = answered("--model", other, "--images", images, "--captions", captions)
    assert comparison["text_to_image"] == alone["text_to_image"]
    assert comparison["encoder"] == alone["encoder"]
    difference = comparison["differences"]["text_to_image"]["recall_at_5"]
    ours, theirs = answer["text_to_image"]["recall_at_5"], alone["text_to_image"]["recall_at_5"]
    assert difference["difference"] == pytest.approx(ours - theirs, abs=1e-3)
    low, high = difference["interval"]
    assert difference["verdict"] == ("differs" if low > 0 or high < 0 else "does not differ")
    assert comparison["differences"]["rsum"]["verdict"] in ("differs", "does not differ")
    assert set(comparison["differences"]["hybrid"]) == set(answer["hybrid"])

    drawn = {path.name: path.read_bytes() for path in plots.iterdir()}
    assert set(drawn) == {"recall.svg", "ranks.svg", "retention.svg"}
    for content in drawn.values():
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_an_encoder_does_not_differ_from_itself(
    images: Path, captions: Path, checkpoints: tuple[Path, Path]
) -> None:
    one = checkpoints[0]
    answer = answered("--model", one, "--compare", one, "--images", images, "--captions", captions)
    for direction in ("text_to_image", "image_to_text"):
        for figure in answer["comparison"]["differences"][direction].values():
            assert figure == {"difference": 0, "interval": [0, 0], "verdict": "does not differ"}


def test_a_split_chooses_photos_by_name_one_a_line(
    images: Path, captions: Path, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    split = tmp_path / "dev.txt"
    split.write_bytes(b"\xef\xbb\xbf00003.jpg\r\n\r\n 00001.jpg\r\n00003.jpg\n00007.jpg")
    asked = ("--model", checkpoints[0], "--images", images, "--captions", captions)
    answer = answered(*asked, "--split", split)
    assert (answer["photos"], answer["captions"]) == (3, 9)
    assert answer["text_to_image"]["recall_at_5"] == 100


def test_photos_that_cannot_be_read_are_listed_and_left_out(
    images: Path, captions: Path, checkpoints: tuple[Path, Path]
) -> None:
    (images / "00002.jpg").write_bytes(b"no picture")
    (images / "00005.jpg").unlink()
    asked = ("--model", checkpoints[0], "--images", images, "--captions", captions)
    answer = answered(*asked)
    assert answer["photos"] == PHOTOS - 2
    assert [Path(failure["path"]).name for failure in answer["failed"]] == ["00002.jpg", "00005.jpg"]
    assert all(Path(failure["path"]).name in failure["error"] for failure in answer["failed"])
    assert answered(*asked, "--strict", exit_code=1)["photos"] == PHOTOS - 2
    table = evaluate(*asked, "--samples", 100)
    assert "failed: 00002.jpg" in table.stdout


def test_a_folder_without_the_photos_fails_every_photo_and_the_command(
    captions: Path, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    asked = (
        "--model",
        checkpoints[0],
        "--images",
        empty,
        "--captions",
        captions,
        "--all",
        "--plots",
        tmp_path,
    )
    answer = answered(*asked, exit_code=1)
    assert len(answer["failed"]) == PHOTOS
    assert (answer["photos"], answer["text_to_image"], answer["rsum"]) == (0, None, None)
    table = evaluate(*asked)
    assert table.exit_code == 1
    assert "no photo can be read" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--captions", "nowhere.txt"], "nowhere.txt"),
        (["--split", "nowhere.txt"], "nowhere.txt"),
        (["--split", "{empty}"], "is empty"),
        (["--split", "{strangers}"], "names 2 photos"),
        (["--split", "dev"], "no split dev"),
        (["--images", "nowhere"], "nowhere"),
        (["--images", "{captions}"], "is a file"),
        (["--model", "nowhere"], "nowhere"),
        (["--through", "api", "--all"], "--through api"),
        (["--through", "api", "--url", "ftp://here"], "ftp://here"),
        (["--through", "api", "--url", "http://here:port"], "http://here:port"),
        (["--samples", "0"], "samples"),
    ],
)
def test_wrong_arguments_are_named_without_a_traceback(
    arguments: list[str],
    named: str,
    images: Path,
    captions: Path,
    checkpoints: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "strangers").write_text("00001.jpg\nx.jpg\ny.jpg\n")
    paths = {"empty": tmp_path / "empty", "strangers": tmp_path / "strangers", "captions": captions}
    options = {"--model": checkpoints[0], "--images": images, "--captions": captions}
    for name, value in zip(arguments[::2], arguments[1::2], strict=False):
        options[name] = value.format(**paths) if isinstance(value, str) else value
    flags = arguments[-1:] if len(arguments) % 2 else []
    refused = evaluate(*(part for option in options.items() for part in option), *flags)
    assert refused.exit_code == 2, refused.output
    assert named in refused.stderr
    assert refused.exception is None or isinstance(refused.exception, SystemExit)


def test_one_photo_is_enough(
    images: Path, captions: Path, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("00004.jpg")
    answer = answered(
        "--model", checkpoints[0], "--images", images, "--captions", captions, "--split", tmp_path / "one",
        "--all",
    )  # fmt: skip
    assert answer["text_to_image"]["mean_rank"] == 1
    assert answer["rsum"] == 600
    assert "hybrid" not in answer  # there is no other photo to show


@asynccontextmanager
async def serving(settings: Settings, service: Service) -> AsyncIterator[str]:
    """The service on a real port of this machine."""
    app = create_app(settings)
    app.state.service = service
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


async def through_api(url: str, folder: Path, said: dict[str, Sequence[str]], *more: object) -> Result:
    captions = write_captions(folder.parent / "captions.txt", {name: list(of) for name, of in said.items()})
    asked = ("--through", "api", "--url", url, "--images", folder, "--captions", captions, *more)
    return await asyncio.to_thread(evaluate, *asked, "--json", "--samples", 100)


async def test_through_the_api_every_caption_is_asked_of_the_service(
    settings: Settings, service: Service, folder: Path
) -> None:
    said = {f"{colour}.png": [f"a {colour} picture", f"all {colour}"] for colour in COLOURS}
    said["red.png"] = ["a red picture", "all blue"]  # the second finds another picture first
    async with serving(settings, service) as url:
        result = await through_api(url, folder, said)
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        assert answer["text_to_image"]["recall_at_1"] == 100 * 15 / 16
        assert answer["text_to_image"]["recall_at_10"] == 100  # eight pictures, ten hits
        assert answer["text_to_image"]["mean_rank"] is None  # beyond ten the service was not asked
        assert answer["image_to_text"] is None
        assert answer["rsum"] is None
        assert answer["through"] == "api"
        assert (answer["photos"], answer["captions"], answer["gallery"]) == (8, 16, 8)
        assert answer["encoder"]["fingerprint"] == service.encoder.fingerprint
        table = await asyncio.to_thread(
            evaluate, "--through", "api", "--url", url, "--images", folder,
            "--captions", folder.parent / "captions.txt",
        )  # fmt: skip
        assert "through the service, among 8 pictures" in table.stdout


async def test_of_two_equal_files_the_gallery_has_one_and_both_find_it(
    settings: Settings, service: Service, folder: Path
) -> None:
    (folder / "again.png").write_bytes(picture("red"))
    async with serving(settings, service) as url:
        result = await through_api(url, folder, {"again.png": ["all red"], "blue.png": ["all blue"]})
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["text_to_image"]["recall_at_1"] == 100


async def test_what_the_service_lacks_is_said(
    settings: Settings, service: Service, folder: Path, checkpoints: tuple[Path, Path]
) -> None:
    said = {"red.png": ["all red"], "green.png": ["all green"], "x/red.png": ["red"]}
    async with serving(settings, service) as url:
        missing = await through_api(url, folder, said)
        assert missing.exit_code == 2
        assert "2 of 3 photos are not in the collection colours" in missing.stderr
        assert "green.png, x/red.png" in missing.stderr

        elsewhere = await through_api(url, folder, {"red.png": ["all red"]}, "--collection", "other")
        assert elsewhere.exit_code == 2
        assert "no collection other" in elsewhere.stderr
        assert "colours" in elsewhere.stderr

        another = await through_api(url, folder, {"red.png": ["all red"]}, "--model", checkpoints[0])
        assert another.exit_code == 2
        assert service.encoder.checkpoint in another.stderr

        wrong_place = await through_api(f"{url}/api", folder, {"red.png": ["all red"]})
        assert wrong_place.exit_code == 2
        assert "answered 404" in wrong_place.stderr


async def test_no_service_is_said_with_the_way_to_start_it(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    refused = await through_api(url, folder, {"red.png": ["all red"]})
    assert refused.exit_code == 2
    assert url in refused.stderr
    assert "image-retrieval serve" in refused.stderr
