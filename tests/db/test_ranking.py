"""search_images where more counts than nearness: captions, biases, near duplicates; scores against chance."""

from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import errors

from tests.db.galleries import Embedding, build_index, clustered, connect, fill, id_of, literal, unit_rows

Psql = psycopg.Connection[Any]
N = 400


def rows(
    connection: Psql, query: Embedding, options: str, *arguments: object, columns: str = "*"
) -> list[Any]:
    return connection.execute(
        f"select {columns} from search_images(%s, {options})", (literal(query), *arguments)
    ).fetchall()


def ids(connection: Psql, query: Embedding, options: str, *arguments: object) -> list[int]:
    return [row[0].int for row in rows(connection, query, options, *arguments, columns="image_id")]


@pytest.fixture(scope="module")
def embeddings() -> Embedding:
    return clustered(N, 16, seed=1)


@pytest.fixture
def gallery(psql: Psql, embeddings: Embedding) -> Psql:
    """400 pictures, indexed; every even one has captions, every fortieth names its own town."""
    fill(
        psql,
        embeddings,
        captions=lambda i: (
            [] if i % 2 else [f"a picture of a {'dog' if i % 4 else 'cat'}", *TOWNS.get(i, ())]
        ),
        attributes=lambda i: {"even": i % 2 == 0},
    )
    build_index(psql, 1)
    return psql


TOWNS = {40 * n: (f"một ngày ở làng{n}",) for n in range(10)}


# what is not asked costs nothing


@pytest.mark.parametrize("options", ["20", "20, skip => 7", "20, exact => true", "5, sort => 'newest'"])
def test_what_is_not_asked_for_changes_nothing(gallery: Psql, embeddings: Embedding, options: str) -> None:
    plain = rows(gallery, embeddings[3], options)
    assert plain == rows(
        gallery,
        embeddings[3],
        f"{options}, caption_query => 'a dog', caption_weight => 0, normalise => false,"
        " fold_duplicates => null",
    )
    assert all(row[-3:] == (None, None, None) for row in plain)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("caption_weight => -0.1", "caption_weight is -0.1; it goes from 0"),
        ("caption_weight => 1.5", "caption_weight is 1.5"),
        ("caption_weight => 'nan'", "caption_weight is NaN"),
        ("caption_weight => null", "caption_weight is <NULL>"),
        ("fold_duplicates => -1", "fold_duplicates is -1; it is a cosine distance"),
        ("fold_duplicates => 'nan'", "fold_duplicates is NaN"),
    ],
)
def test_weights_that_make_no_sense_are_refused(
    gallery: Psql, embeddings: Embedding, options: str, complaint: str
) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=complaint):
        rows(gallery, embeddings[0], options)


# captions


def test_a_name_in_a_caption_finds_a_picture_that_the_vector_would_not(
    gallery: Psql, embeddings: Embedding
) -> None:
    far = int(np.argmin(embeddings[::40] @ embeddings[3])) * 40
    assert far not in ids(gallery, embeddings[3], "200")
    town = TOWNS[far][0].split()[-1]
    asked = "5, caption_query => %s, caption_weight => 0.9"
    assert ids(gallery, embeddings[3], asked, f"một ngày ở {town}")[0] == far
    (first, *_) = rows(gallery, embeddings[3], asked, town, columns="score, caption_score, captions")
    assert first[0] == pytest.approx(float(embeddings[far] @ embeddings[3]), abs=2e-3)  # an honest cosine
    assert first[1] == pytest.approx(1)
    assert first[2][1] == TOWNS[far][0]


def test_accents_may_be_left_out_and_count_where_they_are_typed(gallery: Psql) -> None:
    def share(words: str) -> float:
        (row,) = gallery.execute(
            "select share from caption_evidence(%s, %s)", (words, [id_of(40)])
        ).fetchall()
        return float(row[0])

    assert share("một ngày ở làng1") == pytest.approx(1)
    assert 0.5 <= share("mot ngay o lang1") < 1
    assert share("con mèo") == 0
    assert gallery.execute("select count(*) from caption_evidence('dog', %s)", ([id_of(1)],)).fetchone() == (
        0,
    )


def test_a_picture_without_captions_is_neither_favoured_nor_held_back(
    gallery: Psql, embeddings: Embedding
) -> None:
    """Its evidence is the average one: behind those that captions speak for, before the others."""
    plain = ids(gallery, embeddings[3], "200")
    fused = ids(gallery, embeddings[3], "200, caption_query => 'a dog', caption_weight => 0.3")
    for kept in (1, 2, 0):
        same = [i for i in plain if (i % 2 == 1 if kept == 1 else i % 4 == kept)]
        assert [i for i in fused if i in same] == [i for i in same if i in fused]
    place = {i: place for place, i in enumerate(fused)}
    moved = {
        kind: np.mean([plain.index(i) - place[i] for i in plain if i % 4 == kind and i in place])
        for kind in range(4)
    }
    assert moved[2] > moved[1] > moved[0]  # dogs rise, cats sink
    assert moved[3] > moved[0]


def test_filters_hold_for_pictures_that_captions_bring(gallery: Psql, embeddings: Embedding) -> None:
    asked = "50, caption_query => 'cat', caption_weight => 0.9"
    assert all(
        i % 2 == 0 for i in ids(gallery, embeddings[3], f"{asked}, attributes => %s", '{"even": true}')
    )
    first = ids(gallery, embeddings[3], asked)[0]
    assert first not in ids(gallery, embeddings[3], f"{asked}, exclude => %s", [id_of(first)])
    scores = rows(gallery, embeddings[3], f"{asked}, min_score => 0.2", columns="score")
    assert scores
    assert min(score for (score,) in scores) >= 0.2
    assert ids(gallery, embeddings[3], f"{asked}, min_width => 41") == []
    assert len(ids(gallery, embeddings[3], f"{asked}, min_width => 40, min_height => 30")) == 50


@pytest.mark.parametrize("words", ["", "   ", "!?", None, "'; drop table captions", "a\\b:* & | !", "làng1'"])
def test_any_words_may_be_asked(gallery: Psql, embeddings: Embedding, words: str | None) -> None:
    assert len(rows(gallery, embeddings[3], "5, caption_query => %s, caption_weight => 0.5", words)) == 5


def test_rare_words_tell_more_than_frequent_ones(gallery: Psql) -> None:
    told = dict(
        gallery.execute("select word, rarity from question_words('a picture of a làng1 dog')").fetchall()
    )
    assert told["làng1"] > told["dog"] > told["a"] >= 0
    without = gallery.execute("select count(*) from question_words(%s)", (" ".join(map(str, range(99))),))
    assert without.fetchone() == (32,)


def test_words_count_before_the_first_statistics(psql: Psql) -> None:
    embeddings = clustered(20, 16, seed=1)
    fill(psql, embeddings, captions=lambda i: [f"a picture of number{i}"])
    told = psql.execute("select distinct rarity from question_words('a picture of number7')").fetchall()
    assert told == [(1,)]
    asked = "1, caption_query => 'number7', caption_weight => 0.9"
    assert rows(psql, embeddings[3], asked, columns="image_id, caption_score") == [(id_of(7), 1)]


# biases


def give_biases(connection: Psql, captions: Embedding) -> int:
    """Take caption 0 of each even picture for reference; return how many biases were worked out."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into reference_captions (encoder_id, image_id, position, embedding)"
            " values (1, %s, 0, %s)",
            [(id_of(2 * i), literal(caption)) for i, caption in enumerate(captions)],
        )
    filled = 0
    while (row := connection.execute("select fill_biases(1::smallint, 150)").fetchone()) and row[0]:
        assert row[0] <= 150
        filled += row[0]
    return filled


def expected_biases(embeddings: Embedding, captions: Embedding) -> Any:
    """The formula: 0.75 · mean of the 128 highest similarities, a picture's own caption left out."""
    pictures, captions = embeddings.astype(np.float16), captions.astype(np.float16)
    similar = pictures.astype(float) @ captions.astype(float).T
    similar[np.arange(0, N, 2), np.arange(N // 2)] = -np.inf
    return 0.75 * np.sort(similar, axis=1)[:, -128:].mean(axis=1)


def test_biases_are_what_the_formula_says_and_are_filled_in_steps(
    gallery: Psql, embeddings: Embedding
) -> None:
    captions = clustered(N // 2, 16, seed=5)
    assert give_biases(gallery, captions) == N
    found = gallery.execute("select bias from image_biases order by image_id").fetchall()
    np.testing.assert_allclose([bias for (bias,) in found], expected_biases(embeddings, captions), atol=1e-3)
    assert gallery.execute("select fill_biases(1::smallint)").fetchone() == (0,)


def test_normalised_hits_are_ordered_by_score_less_bias_and_keep_their_cosine(
    gallery: Psql, embeddings: Embedding
) -> None:
    captions = clustered(N // 2, 16, seed=5)
    give_biases(gallery, captions)
    biases = expected_biases(embeddings, captions)
    query = embeddings[3]
    found = rows(
        gallery, query, "30, normalise => true, exact => true", columns="image_id, score, normalised"
    )
    near = ids(gallery, query, "200, exact => true")
    values = {i: float(embeddings[i] @ query) - biases[i] for i in near}
    for image_id, score, normalised in found:
        assert score == pytest.approx(float(embeddings[image_id.int] @ query), abs=3e-3)
        assert normalised == pytest.approx(values[image_id.int], abs=3e-3)
    assert [row[2] for row in found] == sorted((row[2] for row in found), reverse=True)
    assert found[0][2] == pytest.approx(max(values.values()), abs=3e-3)


def test_pictures_that_come_later_count_as_average_ones(gallery: Psql, embeddings: Embedding) -> None:
    give_biases(gallery, clustered(N // 2, 16, seed=5))
    before = gallery.execute("select image_id, bias from image_biases order by 1").fetchall()
    query = embeddings[3]
    first = ids(gallery, query, "5, normalise => true")
    gallery.execute("delete from image_biases where image_id = any(%s)", ([id_of(i) for i in first[:2]],))
    mean = gallery.execute(
        "select avg(bias) from image_biases join search_images(%s, 200) using (image_id)", (literal(query),)
    ).fetchone()
    assert mean is not None
    hits = rows(gallery, query, "200, normalise => true", columns="image_id, score, normalised")
    assert {image_id.int for image_id, _, _ in hits} >= set(first)
    for image_id, score, normalised in hits:
        if image_id.int in first[:2]:
            assert score - normalised == pytest.approx(mean[0], abs=1e-6)
    assert gallery.execute("select fill_biases(1::smallint)").fetchone() == (2,)  # the others are kept
    assert gallery.execute("select image_id, bias from image_biases order by 1").fetchall() == before


def test_a_caption_that_changes_takes_its_vector_along_and_the_biases_are_due_again(
    gallery: Psql, embeddings: Embedding
) -> None:
    give_biases(gallery, clustered(N // 2, 16, seed=5))
    gallery.execute("delete from captions where image_id = %s", (id_of(0),))
    assert gallery.execute("select count(*) from reference_captions").fetchone() == (N // 2 - 1,)
    assert gallery.execute("select fill_biases(1::smallint, 100000)").fetchone() == (N,)
    gallery.execute("delete from images where id = %s", (id_of(2),))
    assert gallery.execute("select count(*) from image_biases").fetchone() == (N - 1,)


def test_to_normalise_without_biases_is_an_error_that_says_what_to_do(
    gallery: Psql, embeddings: Embedding
) -> None:
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="there are no biases yet") as caught:
        rows(gallery, embeddings[0], "5, normalise => true")
    assert caught.value.diag.message_hint == "image-retrieval normalise"
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="no reference captions"):
        gallery.execute("select fill_biases(1::smallint)")


# near duplicates


@pytest.fixture
def bursts(psql: Psql) -> tuple[Psql, Embedding]:
    """300 pictures: 0, 10, 20, … each with three that nearly repeat it."""
    heaps = clustered(30, 16, seed=3)
    noise = 0.01 * np.random.default_rng(0).standard_normal((300, 16))
    picture = np.random.default_rng(1).standard_normal((300, 16))
    embeddings = unit_rows([heaps[i // 10] + noise[i] if i % 10 < 4 else picture[i] for i in range(300)])
    fill(psql, embeddings)
    build_index(psql, 1)
    return psql, embeddings


@pytest.mark.parametrize("exact", [False, True])
def test_near_duplicates_are_folded_under_the_best_of_them(
    bursts: tuple[Psql, Embedding], exact: bool
) -> None:
    connection, embeddings = bursts
    query = embeddings[0]
    found = rows(
        connection,
        query,
        f"50, fold_duplicates => 0.02, exact => {exact}",
        columns="rank, image_id, score, stack",
    )
    assert [row[0] for row in found] == list(range(1, 51))
    shown = [row[1].int for row in found]
    stacks = {row[1].int: [id_.int for id_ in row[3]] for row in found}
    assert {0, 1, 2, 3} == {shown[0], *stacks[shown[0]]}
    for first, stack in stacks.items():
        assert len(stack) == (3 if first % 10 < 4 else 0)
        assert all(i // 10 == first // 10 and i not in shown for i in stack)
        scores = [float(embeddings[i] @ query) for i in (first, *stack)]
        assert scores == sorted(scores, reverse=True) or max(np.diff(scores)) < 1e-3
    plain = ids(connection, query, f"200, exact => {exact}")
    assert [i for i in plain if i in shown] == shown


def test_a_stack_holds_only_what_is_close_to_the_picture_shown(psql: Psql) -> None:
    """0 is close to 1, 1 to 2, and 2 to 3, but 0 is not close to 2."""
    angles = np.radians([0, 10, 20, 30])
    fill(psql, unit_rows(np.column_stack([np.cos(angles), np.sin(angles)])))
    close = 1 - np.cos(np.radians(12))
    found = psql.execute(
        "select image_id, stack from search_images('[1,0]', fold_duplicates => %s)", (close,)
    ).fetchall()
    assert [(row[0].int, [id_.int for id_ in row[1]]) for row in found] == [(0, [1]), (2, [3])]
    stacks = psql.execute("select stack, place, image_id from duplicate_stacks(%s)", (close,)).fetchall()
    assert [(stack, place, id_.int) for stack, place, id_ in stacks] == [
        (1, 1, 0), (1, 2, 1), (2, 1, 2), (2, 2, 3),
    ]  # fmt: skip


def test_stacks_of_the_whole_gallery_name_the_picture_to_keep(bursts: tuple[Psql, Embedding]) -> None:
    connection, _ = bursts
    connection.execute("update images set width = 400, height = 300 where id = %s", (id_of(2),))
    connection.execute("insert into collections (name) values ('other')")
    connection.execute("update images set collection = 'other' where id = %s", (id_of(13),))
    found = connection.execute("select stack, place, image_id, distance from duplicate_stacks()").fetchall()
    stacks: dict[int, list[int]] = {}
    for stack, place, image_id, distance in found:
        stacks.setdefault(stack, []).append(image_id.int)
        assert place == len(stacks[stack])
        assert distance <= 0.02
        assert (distance < 1e-6) == (place == 1)
    assert sorted(map(sorted, stacks.values())) == [[10 * n + i for i in range(4)] for n in range(30)]
    assert [2, 0, 1, 3] in stacks.values()
    in_one = connection.execute("select image_id from duplicate_stacks(0.02, 'holiday')").fetchall()
    assert len(in_one) == 119
    assert (id_of(13),) not in in_one


# pages


@pytest.mark.parametrize(
    "options",
    [
        "normalise => true",
        "caption_query => 'a dog in làng3', caption_weight => 0.4",
        "fold_duplicates => 0.1",
        "normalise => true, caption_query => 'a cat', caption_weight => 0.4, fold_duplicates => 0.05",
        "normalise => true, sort => 'newest'",
    ],
)
def test_pages_neither_repeat_nor_drop(gallery: Psql, embeddings: Embedding, options: str) -> None:
    give_biases(gallery, clustered(N // 2, 16, seed=5))
    whole = ids(gallery, embeddings[3], f"400, {options}, exact => true")
    pages = [
        i
        for skip in range(0, 400, 70)
        for i in ids(gallery, embeddings[3], f"70, {options}, skip => {skip}, exact => true")
    ]
    assert pages == whole
    assert len(set(whole)) == len(whole)
    if "fold" not in options and "newest" not in options:
        assert len(whole) == N


def test_the_index_is_asked_for_the_candidates(large_readonly: Psql, large_embeddings: Embedding) -> None:
    asked = "5, caption_query => 'picture 17', caption_weight => 0.4, fold_duplicates => 0.02"
    for options, expected in ((asked, 820), (f"{asked}, exact => true", None)):
        found = rows(large_readonly, large_embeddings[3], options, columns="ef_search")
        assert {ef_search for (ef_search,) in found} == {expected}


# scores against chance


def test_a_score_is_held_against_those_of_random_pictures(gallery: Psql, embeddings: Embedding) -> None:
    scores = np.sort(embeddings.astype(np.float16).astype(float) @ embeddings[3])
    row = gallery.execute(
        "select mean, deviation, chance, scores from background_scores(%s)", (literal(embeddings[3]),)
    ).fetchone()
    assert row is not None
    assert row[0] == pytest.approx(scores.mean(), abs=2e-3)
    assert row[1] == pytest.approx(scores.std(ddof=1), abs=2e-3)
    assert row[2] is None
    np.testing.assert_allclose(row[3], scores, atol=2e-3)
    for score, expected in ((-1, 0), (2, 100), (row[3][99], 25)):
        found = gallery.execute("select percentile_of(%s, %s)", (score, row[3])).fetchone()
        assert found == (expected,)
    some = gallery.execute(
        "select cardinality(scores) from background_scores(%s, sample => 100)", (literal(embeddings[3]),)
    ).fetchone()
    assert some == (100,)
    nothing = gallery.execute(
        "select mean, chance, scores from background_scores(%s, 'none')", (literal(embeddings[3]),)
    ).fetchone()
    assert nothing == (None, None, [])


def test_chance_is_how_near_captions_come_to_pictures_that_are_not_theirs(
    gallery: Psql, embeddings: Embedding
) -> None:
    captions = clustered(N // 2, 16, seed=5)
    give_biases(gallery, captions)
    assert gallery.execute("select fill_chance(1::smallint)").fetchone() == (N // 2,)
    similar = captions @ embeddings.T
    similar[np.arange(N // 2), np.arange(0, N, 2)] = -np.inf
    chance = gallery.execute("select chance from background_scores(%s)", (literal(captions[0]),)).fetchone()
    assert chance is not None
    assert chance[0] == pytest.approx(np.quantile(similar.max(axis=1), 0.05), abs=3e-3)
    assert gallery.execute("select fill_chance(1::smallint, 10)").fetchone() == (10,)
    left = gallery.execute("select count(*) from reference_captions where nearest is not null").fetchone()
    assert left == (10,)


# views that people made


def test_a_view_on_the_older_search_images_goes_on(small_gallery: str, small_embeddings: Embedding) -> None:
    from alembic import command

    from tests.conftest import alembic_config

    config = alembic_config(small_gallery)
    command.downgrade(config, "0006")
    with connect(small_gallery) as connection:
        connection.execute(
            "create view public.newest as select s.* from search_images("
            "(select embedding from gallery where uri = '7.jpg'), 5, sort => 'newest') as s"
        )
        before = connection.execute("select * from public.newest").fetchall()
        assert len(before) == 5
        command.upgrade(config, "head")
        assert connection.execute("select * from public.newest").fetchall() == before
        command.downgrade(config, "0006")
        assert connection.execute("select * from public.newest").fetchall() == before
        command.upgrade(config, "head")
        assert connection.execute("select * from public.newest").fetchall() == before
