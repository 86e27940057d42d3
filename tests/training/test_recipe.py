"""Recipes: what the presets mean, and what is refused."""

import pytest

from training.recipe import PRESETS, RECIPE_FIELDS, Recipe, choose_recipe


def test_the_report_s_recipe_is_batch_16_adamw_1e_5_three_epochs_of_plain_pairs() -> None:
    recipe = choose_recipe("report", joined=False, asked={})
    assert (recipe.epochs, recipe.batch_size, recipe.pairs, recipe.texts_per_photo) == (3, 16, "plain", 1)
    assert recipe.image_learning_rate == recipe.text_learning_rate == recipe.head_learning_rate == 1e-5
    assert recipe.schedule == "constant"
    assert not recipe.augment_photos
    assert choose_recipe("report", joined=True, asked={}) == recipe


def test_towers_that_never_met_learn_faster_than_a_checkpoint_that_knows_something() -> None:
    checkpoint = choose_recipe("recommended", joined=False, asked={})
    towers = choose_recipe("recommended", joined=True, asked={})
    assert checkpoint == Recipe()
    assert towers.head_learning_rate > 10 * checkpoint.head_learning_rate
    assert towers.image_learning_rate > checkpoint.image_learning_rate


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_asked_for_wins_over_the_preset(preset: str) -> None:
    assert choose_recipe(preset, joined=True, asked={"epochs": 7, "seed": 3}).epochs == 7
    assert choose_recipe(preset, joined=True, asked={"loss": "sigmoid"}).distillation == 0
    assert choose_recipe(preset, joined=False, asked={"pairs": "plain"}).texts_per_photo == 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"warmup_share": 1.0}, "warmup_share is 1.0; it goes from 0 to below 1"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0"),
        ({"pairs": "plain", "texts_per_photo": 2}, "texts_per_photo must be 1"),
        ({"loss": "sigmoid", "distillation": 0.1}, "distillation goes with"),
        ({"freeze": "image+text", "lora_rank": 4}, "lora_rank needs a tower"),
        ({"epoch": 3}, "there is no setting epoch"),
    ],
)
def test_what_no_run_can_mean_is_refused_with_its_name(asked: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        choose_recipe("recommended", joined=False, asked=asked)


def test_every_field_says_what_it_means() -> None:
    assert all(field.metadata["meaning"].endswith(".") for field in RECIPE_FIELDS.values())
