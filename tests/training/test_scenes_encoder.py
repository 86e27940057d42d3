import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, CLIPModel, PreTrainedTokenizerFast

from embedding.encoder import Encoder, load_encoder
from tests.scenes_checkpoint import scenes_checkpoint
from training import scenes_encoder
from training.errors import CheckpointFolderError
from training.evaluate import evaluate_retrieval
from training.scenes import Scene, captions_of, draw, gallery, training_scenes
from training.scenes_encoder import PREPROCESSING, RECIPE, new_model, train, train_scenes_encoder
from training.scenes_tokenizer import SPECIAL_TOKENS, train_tokenizer

TINY = replace(
    RECIPE,
    scenes=64,
    batch_size=32,
    warmup_steps=5,
    image_width=64,
    image_layers=1,
    text_width=64,
    text_layers=1,
)
STEPS = 3


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So little is to be computed that threads would only wait for each other."""
    monkeypatch.setattr(scenes_encoder, "RECIPE", TINY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    scenes = training_scenes(500, seed=0)
    return train_tokenizer([caption.body for scene in scenes for caption in captions_of(scene)], context=40)


class Interrupted(Progress):
    """A progress bar at which somebody presses Ctrl-C in the second training step."""

    def update(self, task_id, **changes) -> None:
        super().update(task_id, **changes)
        if self.tasks[task_id].completed == 2:
            raise KeyboardInterrupt


class Watched(Progress):
    """A progress bar that remembers whether there was anything to show."""

    def __init__(self) -> None:
        super().__init__(disable=True)
        self.shown: list[str] = []

    def add_task(self, description: str, *args, **options):
        self.shown.append(description)
        return super().add_task(description, *args, **options)


@pytest.mark.usefixtures("tiny")
def test_a_short_training_lowers_the_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    recipe = replace(TINY, steps=40)
    scenes = training_scenes(recipe.scenes, seed=0)
    pictures = [draw(scene, np.random.default_rng(0), size_px=64) for scene in scenes]
    pixels = torch.from_numpy(scenes_encoder.preprocess(pictures, PREPROCESSING))
    losses = list(train(new_model(recipe, tokenizer), tokenizer, scenes, pixels, recipe))
    assert len(losses) == recipe.steps
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_training_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_scenes_encoder(tmp_path / "encoder", steps=STEPS, progress=Interrupted(disable=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny")
def test_a_checkpoint_that_cannot_be_written_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError("no space left on device")

    train_scenes_encoder(tmp_path / "encoder", steps=1)
    former = (tmp_path / "encoder" / "recipe.json").read_text()
    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", full)
    with pytest.raises(OSError, match="no space"):
        train_scenes_encoder(tmp_path / "encoder", steps=2)
    assert (tmp_path / "encoder" / "recipe.json").read_text() == former
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


@pytest.mark.usefixtures("tiny")
def test_a_finished_checkpoint_is_kept_and_one_of_another_recipe_replaced(tmp_path: Path) -> None:
    directory = train_scenes_encoder(tmp_path / "encoder", steps=STEPS)
    weights = (directory / "model.safetensors").read_bytes()
    again = Watched()
    assert train_scenes_encoder(directory, steps=STEPS, progress=again) == directory
    assert again.shown == []
    train_scenes_encoder(directory, steps=STEPS + 1)
    assert json.loads((directory / "recipe.json").read_text())["steps"] == STEPS + 1
    assert (directory / "model.safetensors").read_bytes() != weights
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


@pytest.mark.usefixtures("tiny")
def test_the_same_recipe_gives_the_same_encoder(tmp_path: Path) -> None:
    once, again, other = (
        load_encoder(str(train_scenes_encoder(tmp_path / name, steps=STEPS, seed=seed))).fingerprint
        for name, seed in (("once", 0), ("again", 0), ("other", 1))
    )
    assert once == again != other


@pytest.mark.usefixtures("tiny")
def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointFolderError, match=str(tmp_path)):
        train_scenes_encoder(tmp_path, steps=STEPS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("tiny")
def test_transformers_opens_the_checkpoint_as_any_other_and_agrees_with_our_encoder(tmp_path: Path) -> None:
    directory = train_scenes_encoder(tmp_path / "encoder", steps=STEPS)
    model, tokenizer = AutoModel.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    processor = AutoImageProcessor.from_pretrained(directory, backend="pil")
    assert isinstance(model, CLIPModel)
    encoder = load_encoder(str(directory), precision="float32")
    picture, text = draw(gallery(1, seed=0)[0], np.random.default_rng(0)), "hai con cá màu đỏ, a zebra"
    with torch.no_grad():
        image = model.get_image_features(**processor(picture, return_tensors="pt")).pooler_output
        words = model.get_text_features(**tokenizer(text, return_tensors="pt")).pooler_output
    for theirs, ours in ((image, encoder.encode_images([picture])), (words, encoder.encode_texts([text]))):
        unit = torch.nn.functional.normalize(theirs).numpy()
        assert float((unit * ours).sum()) == pytest.approx(1, abs=1e-4)


def test_the_tokenizer_reads_composed_and_decomposed_and_capital_letters_alike(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    text = "ba chiếc thuyền màu đỏ"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer(unicodedata.normalize("NFD", text))["input_ids"] == ids
    assert tokenizer(text.upper())["input_ids"] == ids
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["", "zebra", "東京 🚀", "con ngựa vằn", "x" * 1000])
def test_the_tokenizer_knows_every_text_and_ends_it(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text, truncation=True)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert ids.count(tokenizer.eos_token_id) == 1
    assert len(ids) <= 40


def test_the_end_of_a_text_has_not_the_id_that_transformers_takes_for_an_old_checkpoint() -> None:
    assert SPECIAL_TOKENS.index("<end>") != 2


@pytest.fixture(scope="session")
def trained(request: pytest.FixtureRequest) -> Encoder:
    return load_encoder(str(scenes_checkpoint(request.config)))


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    return gallery(300, seed=2025)


@pytest.fixture(scope="session")
def pictures(trained: Encoder, scenes: list[Scene]) -> np.ndarray:
    return trained.encode_images(drawn(scenes, 0))


def drawn(scenes: Sequence[Scene], seed: int):
    return [draw(scene, np.random.default_rng([seed, number])) for number, scene in enumerate(scenes)]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_trained_encoder_finds_held_out_scenes(
    trained: Encoder, scenes: list[Scene], language: str
) -> None:
    captions = [[each.body for each in captions_of(scene) if each.language == language] for scene in scenes]
    retrieval = evaluate_retrieval(trained, drawn(scenes, 0), captions)
    assert retrieval.text_to_image.recall_at_1 >= 90
    assert retrieval.text_to_image.recall_at_5 >= 98
    assert retrieval.image_to_text.recall_at_1 >= 90


@pytest.mark.slow
def test_the_trained_encoder_finds_a_scene_by_another_drawing_of_it(
    trained: Encoder, scenes: list[Scene], pictures: np.ndarray
) -> None:
    nearest = (trained.encode_images(drawn(scenes, 1)) @ pictures.T).argmax(axis=1)
    assert (nearest == np.arange(300)).mean() >= 0.95
