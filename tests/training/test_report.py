import json
import re
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedding.encoder import Encoder, load_encoder
from embedding.images import decode_image
from tests.encoders import FakeEncoder, tiny_clip
from training.bootstrap import differences, estimates
from training.charts import MOST_POINTS, loss_chart, points_per_mean, recall_chart
from training.encoded_gallery import encode_gallery
from training.errors import CheckpointFolderError, EvaluationError
from training.evaluate import evaluate_retrieval
from training.markup import Html, element
from training.metrics import RECALLS
from training.photos import CaptionedPhoto, FileSource
from training.questions import by_captions, rank_captions
from training.recipe import Recipe
from training.report import write_report
from training.report_questions import choose_captions
from training.report_story import duration, recipe_in_words, without_folders
from training.scenes import gallery, write_gallery

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta", "white", "black", "orange", "purple"]
VOID = {"img", "meta"}
PAYLOAD = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """A page as a browser reads it; every tag must be closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[tuple[str, ...], str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append((tuple(self.open), data))

    @property
    def text(self) -> str:
        """What a person reads."""
        return " ".join(" ".join(words for path, words in self.words if "style" not in path).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def texts(self, tag: str) -> list[str]:
        return [words for path, words in self.words if path[-1:] == (tag,)]


@pytest.fixture
def dev(tmp_path: Path) -> list[CaptionedPhoto]:
    """Ten plain pictures, each with two captions that name its colour."""
    return [painted(tmp_path / "photos", f"{colour}.png", colour) for colour in COLOURS]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three epochs, the second the best."""
    return write_run(tmp_path / "my-run")


@pytest.fixture(scope="module")
def tiny_encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Encoder]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return tuple(  # type: ignore[return-value]
        load_encoder(str(tiny_clip(folder / str(seed), seed=seed)), precision="float32") for seed in (0, 1)
    )


def painted(folder: Path, name: str, colour: str, captions: tuple[str, ...] = ()) -> CaptionedPhoto:
    folder.mkdir(exist_ok=True)
    path = folder / f"{colour}.png"
    Image.new("RGB", (40, 30), colour).save(path)
    return CaptionedPhoto(name, captions or (f"a {colour} thing", f"all {colour}"), FileSource(path))


def recall(percent: float) -> dict[str, list[float]]:
    return {way: [percent, percent + 10, percent + 20] for way in ("text_to_image", "image_to_text")}


def write_run(
    folder: Path, *, losses: Callable[[int], float] = lambda step: 3 - step / 10, **told: Any
) -> Path:
    """Write training.json and steps.jsonl as training.train does, three epochs of four steps."""
    folder.mkdir()
    story = {
        "identity": {
            "start": "/home/somebody/models/clip-base",
            "recipe": asdict(Recipe(epochs=3)),
            "data": {"photos": 6000, "captions": 30000, "failed": 2, "duplicates": 1, "digest": "0" * 64},
        },
        "finished": True, "start": recall(10), "epochs": [recall(20), recall(40), recall(30)],
        "best_epoch": 2, "steps": 12, "seconds": 754.0, "stopped_early": False,
    } | told  # fmt: skip
    (folder / "training.json").write_text(json.dumps(story))
    with (folder / "steps.jsonl").open("w") as file:
        for number in range(12):
            step = {"step": number + 1, "epoch": number // 4 + 1, "loss": losses(number)}
            file.write(json.dumps(step | {"share_of_peak_rate": 1 - number / 12, "logit_scale": 14.0}) + "\n")
    return folder


def report(run: Path, dev: list[CaptionedPhoto], **asked: Any) -> Page:
    asked = {"before": FakeEncoder("one", dimension=4), "after": FakeEncoder("two")} | asked
    return Page(write_report(run, dev=dev, **asked).read_text("utf-8"))


def test_a_page_asks_nothing_of_a_network(run: Path, dev: list[CaptionedPhoto]) -> None:
    page = report(run, dev)
    assert page.all("svg")
    assert page.all("img")
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "image"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                assert str(value).startswith(("#", "data:image/jpeg;base64,"))
            if "url(" in str(value):
                assert str(value).count("url(") == str(value).count("url(#")
    styles = "".join(page.texts("style"))
    assert "prefers-color-scheme: dark" in styles
    assert "url(" not in styles
    assert "@import" not in styles
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_id_is_there_once_and_every_reference_leads_to_one(
    run: Path, dev: list[CaptionedPhoto]
) -> None:
    page = report(run, dev)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name, value in attributes.items():
            if name.endswith("href"):
                assert str(value).removeprefix("#") in ids
            if name == "aria-labelledby":
                assert value in ids
            for led_to in re.findall(r"url\(#([^)]+)\)", str(value)):
                assert led_to in ids


def test_every_picture_and_chart_says_what_it_is(run: Path, dev: list[CaptionedPhoto]) -> None:
    page = report(run, dev)
    assert {image["alt"] for image in page.all("img")} <= {photo.name for photo in dev}
    charts = page.all("svg")
    assert len(charts) == len(page.texts("title")) - 1 == 4
    assert all(chart["role"] == "img" for chart in charts)
    drawn = [words for path, words in page.words if path[-1] == "text"]
    assert {"step", "epoch", "R@1", "R@5", "R@10", "kept"} <= {words.strip() for words in drawn}


def test_the_table_shows_what_evaluation_says(
    run: Path, tmp_path: Path, tiny_encoders: tuple[Encoder, Encoder]
) -> None:
    paths = write_gallery(tmp_path / "scenes", gallery(30, seed=1))
    dev = [
        CaptionedPhoto(path.name, (f"a {colour} star", f"the {colour} boat"), FileSource(path))
        for path, colour in zip(paths, COLOURS * 3, strict=True)
    ]
    before, after = tiny_encoders
    page = report(run, dev, before=before, after=after)
    rows = comparison_of(page)
    images = [decode_image(photo.source.read(), name=photo.name) for photo in dev]
    for column, encoder in (("before", before), ("after", after)):
        scored = evaluate_retrieval(encoder, images, [photo.captions for photo in dev])
        for direction in ("text_to_image", "image_to_text"):
            for name in RECALLS:
                shown = getattr(getattr(scored, direction), name)
                assert rows[direction, name][column][0] == f"{shown:.1f}"
    measured = [by_captions(rank_captions(encode_gallery(each, dev))) for each in (after, before)]
    alone, apart = estimates(measured[0]), differences(*measured)
    for (direction, name), row in rows.items():
        one, other = alone[direction,][name], apart[direction,][name]
        assert row["after"][1] == f"{one.low:.1f}\N{EN DASH}{one.high:.1f}"
        assert row["change"][0] == f"{other.value:+z.1f}".replace("-", "\N{MINUS SIGN}")
        assert row["change"][1] == f"{other.low:+z.1f} to {other.high:+z.1f}".replace("-", "\N{MINUS SIGN}")
        assert row["class"] == ("clear" if other.differs else "unclear")


def comparison_of(page: Page) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the comparison's cells by direction and name: the value and its interval."""
    spans = [words for path, words in page.words if path[-1] == "span" and "td" in path]
    cells = list(zip(spans[::2], spans[1::2], strict=True))
    classes = [each["class"] for each in page.all("td") if each.get("class") in {"clear", "unclear"}]
    keys = [(way, name) for way in ("text_to_image", "image_to_text") for name in RECALLS]
    return {
        key: dict(zip(("before", "after", "change"), cells[3 * row : 3 * row + 3], strict=True))
        | {"class": classes[row]}
        for row, key in enumerate(keys)
    }


def test_the_same_run_gives_the_same_page(run: Path, dev: list[CaptionedPhoto], tmp_path: Path) -> None:
    report(run, dev)
    report(run, dev, out=tmp_path / "again.html")
    assert (run / "report.html").read_bytes() == (tmp_path / "again.html").read_bytes()
    assert {path.name for path in run.iterdir()} == {"training.json", "steps.jsonl", "report.html"}


def test_captions_and_names_are_text_and_never_markup(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "<b>run", identity={"start": PAYLOAD, "recipe": asdict(Recipe()), "data": {"photos": 1}}
    )
    dev = [
        painted(tmp_path / "photos", f"{colour}{PAYLOAD}.png", colour, (f"{colour} {PAYLOAD}",))
        for colour in COLOURS
    ]
    page = report(run, dev)
    assert not page.all("script")
    assert all(set(image) == {"src", "alt", "title"} for image in page.all("img"))
    assert all(PAYLOAD in str(image["alt"]) for image in page.all("img"))
    assert len(page.texts("h3")) == 8
    assert all(PAYLOAD in question for question in page.texts("h3"))
    assert page.texts("h1") == ["<b>run"]
    assert f"Start {PAYLOAD}" in page.text
    asked = report(run, dev, questions=[PAYLOAD])
    assert asked.texts("h3") == [PAYLOAD]
    assert not asked.all("script")


def test_the_right_photo_is_marked_wherever_it_came(run: Path, dev: list[CaptionedPhoto]) -> None:
    class Contrary(FakeEncoder):
        """Finds last what FakeEncoder finds first."""

        def encode_texts(self, texts: Any) -> Any:
            return -super().encode_texts(texts)

    page = report(run, dev, before=Contrary("one"), after=FakeEncoder("one"), questions=["a red thing"])
    assert "Right photo at rank 10 → 1 , better" in page.text
    hits = list(zip(page.all("li"), page.all("img"), strict=True))
    right = [(hit["value"], hit["class"]) for hit, image in hits if image["alt"] == "red.png"]
    assert right == [("10", "right below"), ("1", "right")]
    assert {hit["class"] for hit, image in hits if image["alt"] != "red.png"} == {"other"}
    assert [hit["value"] for hit, _ in hits] == ["1", "2", "3", "4", "5", "10", "1", "2", "3", "4", "5"]
    assert page.texts("h4") == ["Before", "After"]


def test_a_tie_counts_against_the_right_photo(run: Path, dev: list[CaptionedPhoto]) -> None:
    class Blind(FakeEncoder):
        def encode_images(self, images: Any) -> Any:
            return super().encode_images([Image.new("RGB", (4, 4))] * len(images))

    page = report(run, dev, before=None, after=Blind(), questions=["a red thing"])
    assert "Right photo at rank 10" in page.text


def test_a_caption_of_several_photos_has_several_right_photos(
    run: Path, dev: list[CaptionedPhoto], tmp_path: Path
) -> None:
    twin = CaptionedPhoto("twin.png", ("a red thing",), dev[0].source)
    page = report(run, [*dev, twin], questions=["a red thing"])
    after = list(zip(page.all("li"), page.all("img"), strict=True))[-5:]
    assert {image["alt"] for hit, image in after if hit["class"] == "right"} == {"red.png", "twin.png"}


def test_nobodys_words_have_no_right_photo(run: Path, dev: list[CaptionedPhoto]) -> None:
    page = report(run, dev, questions=["blue and nothing else"])
    assert "there is no right answer" in page.text
    assert {hit["class"] for hit in page.all("li")} == {"other"}
    assert page.all("img")[-5]["alt"] == "blue.png"


def test_two_towers_that_never_met_have_no_before(run: Path, dev: list[CaptionedPhoto]) -> None:
    page = report(run, dev, before=None)
    assert "Two towers that had never met" in page.text
    assert page.texts("h4") == ["After"] * 8
    heads = [words for path, words in page.words if path[-1] == "th" and "thead" in path]
    assert heads[:2] == ["Before", "After"]
    assert "Change" not in heads


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({}, "The run is complete: 3 epochs. The checkpoint is that of epoch 2"),
        ({"best_epoch": 0}, "No epoch did better on the dev photos than the start"),
        (
            {"stopped_early": True, "epochs": [recall(20)], "best_epoch": 1},
            "stopped early, after 1 of 3 epochs: no better dev recall for 3 epochs.",
        ),
        ({"finished": False, "epochs": [], "best_epoch": 0}, "not finished: 0 of 3 epochs are done."),
    ],
)
def test_a_page_says_how_the_run_ended(
    tmp_path: Path, dev: list[CaptionedPhoto], told: dict[str, Any], sentence: str
) -> None:
    assert sentence in report(write_run(tmp_path / "run", **told), dev).text


def test_a_run_killed_before_its_first_step_has_a_page(run: Path, dev: list[CaptionedPhoto]) -> None:
    (run / "steps.jsonl").unlink()
    page = report(run, dev)
    assert len(page.all("svg")) == 2


def test_a_loss_that_is_no_number_is_shown_as_such(tmp_path: Path, dev: list[CaptionedPhoto]) -> None:
    run = write_run(
        tmp_path / "run", losses=lambda step: 2.0 if step < 8 else float("nan"), epochs=[recall(20)] * 2
    )
    page = report(run, dev)
    assert "nan" in page.texts("td")
    assert "2.000" in page.texts("td")


def test_the_epochs_have_their_losses_and_recalls(run: Path, dev: list[CaptionedPhoto]) -> None:
    page = report(run, dev)
    cells = page.texts("td")
    assert cells[:6] == ["10.0", "20.0", "30.0"] * 2
    assert cells[6:14] == ["2.850", "2.700", *["20.0", "30.0", "40.0"] * 2]
    assert "2 · kept" in page.texts("th")


def test_a_page_says_what_was_learnt_and_keeps_folders_to_itself(
    run: Path, dev: list[CaptionedPhoto]
) -> None:
    missing = CaptionedPhoto("gone.png", ("a gone thing",), FileSource(run / "gone.png"))
    page = report(run, [*dev, missing])
    assert "6,000 photos with 30,000 captions" in page.text
    assert "2 photos that could not be read; photos that are in another split, too (1 pair)" in page.text
    assert "10 dev photos with 20 captions; 1 more could not be read" in page.text
    assert "12 steps in 13 min" in page.text
    assert f"the folder my-run, fingerprint {FakeEncoder('two').fingerprint}" in page.text
    assert f"clip-base, fingerprint {FakeEncoder('one', dimension=4).fingerprint}" in page.text
    assert str(run.parent) not in page.text
    assert "/home/somebody" not in page.text


def test_a_page_of_large_busy_photos_stays_small(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dev = []
    for number in range(40):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(rng.integers(0, 256, (600, 800, 3), np.uint8)).save(path, quality=95)
        dev.append(CaptionedPhoto(path.name, (f"noise number {number}",), FileSource(path)))
    path = write_report(run, before=FakeEncoder("one", dimension=8), after=FakeEncoder(), dev=dev)
    assert path.stat().st_size <= 3_000_000


def test_a_folder_without_a_run_is_named(tmp_path: Path, dev: list[CaptionedPhoto]) -> None:
    with pytest.raises(CheckpointFolderError, match=r"training\.json: No such file"):
        report(tmp_path, dev)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(CheckpointFolderError, match="is not what a training run wrote"):
        report(tmp_path, dev)


def test_without_a_photo_there_is_no_report_and_the_old_one_stays(
    run: Path, dev: list[CaptionedPhoto]
) -> None:
    report(run, dev)
    old = (run / "report.html").read_bytes()
    with pytest.raises(EvaluationError, match="no dev photo"):
        report(run, [])
    assert (run / "report.html").read_bytes() == old


def test_as_many_questions_got_worse_as_got_better() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.integers(1, 100, (2, 500))
    photo_of_text = np.repeat(np.arange(100), 5)
    rows = choose_captions(before, after, photo_of_text)
    change = np.sign(after[rows] - before[rows])
    assert change.tolist() == [-1, -1, -1, 1, 1, 1, 0, 0]
    assert len(set(photo_of_text[rows])) == 8
    assert rows == choose_captions(before, after, photo_of_text)
    gain = np.log(before / after)
    assert gain[rows[0]] == gain.max()
    assert gain[rows[3]] == gain.min()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([9] * 20, [1] * 20, [8, 0, 0]),
        ([1] * 20, [9] * 20, [0, 8, 0]),
        ([4] * 20, [4] * 20, [0, 0, 8]),
        ([9] * 19 + [1], [1] * 19 + [9], [7, 1, 0]),
        ([9, 1], [1, 9], [1, 1, 0]),
    ],
)
def test_questions_are_filled_up_with_what_there_is(
    before: list[int], after: list[int], expected: list[int]
) -> None:
    then, now = np.array(before), np.array(after)
    rows = choose_captions(then, now, np.arange(len(now)))
    counts = [int(np.sum(each)) for each in (now[rows] < then[rows], now[rows] > then[rows])]
    assert [*counts, len(rows) - sum(counts)] == expected


def test_no_two_questions_are_about_one_photo() -> None:
    before, after = np.random.default_rng(0).integers(1, 100, (2, 500))
    photo_of_text = np.repeat(np.arange(5), 100)
    for then in (before, None):
        rows = choose_captions(then, after, photo_of_text)
        assert sorted(photo_of_text[rows]) == [0, 1, 2, 3, 4]


def test_without_a_before_questions_go_from_the_best_rank_to_the_worst() -> None:
    after = np.random.default_rng(0).permutation(50) + 1
    rows = choose_captions(None, after, np.arange(50))
    assert after[rows].tolist() == [1, 8, 15, 22, 29, 36, 43, 50]


def test_a_long_run_is_drawn_in_few_points() -> None:
    steps = [{"step": n + 1, "epoch": n // 10_000 + 1, "loss": 1.0 + n % 2} for n in range(40_001)]
    drawn = loss_chart(steps, "loss")
    assert points_per_mean(40_001) == 67
    assert points_per_mean(MOST_POINTS) == 1
    assert len(drawn) < 60_000


@pytest.mark.parametrize("recalls", [[[0.0, 0.0, 0.0]], [[100.0, 100.0, 100.0]] * 2])
def test_recall_is_drawn_whatever_it_is(recalls: list[list[float]]) -> None:
    drawn = recall_chart(recalls, 0, "recall", "text to image")
    assert drawn.count("R@") == 3
    assert "#0" not in drawn.replace('"#', "")


def test_only_markup_is_left_as_it_is() -> None:
    assert element("p", "a < b", element("b", '"&'), title='"x"', class_="y") == (
        '<p title="&quot;x&quot;" class="y">a &lt; b<b>&quot;&amp;</b></p>'
    )
    assert element("p", Html("<i></i>") + "<u>") == "<p>&lt;i&gt;&lt;/i&gt;&lt;u&gt;</p>"


def test_a_recipe_is_told_in_words() -> None:
    told = recipe_in_words(asdict(Recipe(freeze="text", lora_rank=8, ema_decay=0.99, distillation=0.3)))
    for words in (
        "10 epochs of batches of 128 photos, each once a batch with 2 captions of its own",
        "peak rates 1e−5 (image tower)", "over the first 10\N{NO-BREAK SPACE}% of the steps",
        "The text tower stays as it came", "rank 8", "decay 0.99", "30\N{NO-BREAK SPACE}% of the target",
        "Photos are varied mildly", "Seed 0.",
    ):  # fmt: skip
        assert words in told
    assert "pairs of a photo and a caption" in recipe_in_words({"pairs": "plain", "texts_per_photo": 1})
    assert "a setting of tomorrow" not in recipe_in_words({"a setting of tomorrow": 1})


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("/home/me/vit + microsoft/minilm", "vit + microsoft/minilm"),
        (r"C:\Users\me\clip", "clip"),
        ("~/models/clip/", "clip"),
        ("../clip", "clip"),
    ],
)
def test_a_start_is_shown_without_its_folders(name: str, shown: str) -> None:
    assert without_folders(name) == shown


def test_times_are_said_as_people_say_them() -> None:
    assert [duration(each) for each in (0.2, 38, 99, 754, 3600, 7512)] == [
        "0 s", "38 s", "99 s", "13 min", "1 h 00 min", "2 h 05 min",
    ]  # fmt: skip
