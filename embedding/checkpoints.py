"""Finding a checkpoint's folder: given as a folder, cached by the hub client, or downloaded by it once."""

import json
from collections.abc import Mapping
from pathlib import Path

from embedding.errors import EncoderUnavailableError

# What an encoder is made of; the hub's folders also hold pickles, other frameworks' weights and onnx/.
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
SETTINGS = ("*.json", "*.txt", "*.model")

# The hub's own bot offers repositories that hold only a pickle a pull request with safetensors. The default
# checkpoint may be one of them, and transformers takes the same way, trusting the same author.
_CONVERSION_BOT = "SFconvertbot"
_CONVERSION_TITLE = "Adding `safetensors` variant of this model"


def find_checkpoint(model: str) -> Path:
    """Return a checkpoint's absolute folder: given as a folder, or by hub name, cached or downloaded.

    Raises:
        EncoderUnavailableError: there is no such folder or repository, it is not whole, or it holds a pickle.
    """
    return find_local_checkpoint(model) or _download(model)


def find_local_checkpoint(model: str) -> Path | None:
    """Return a checkpoint's absolute folder; None if it is a hub name that is not whole in the cache.

    What the cache holds is used as it is, without a look at the network, so that a new revision on the hub
    never changes the encoder of a gallery in silence.

    Raises:
        EncoderUnavailableError: a path that leads to no folder, or to one that is no checkpoint.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return check_checkpoint(folder.resolve())
    if folder.exists():
        raise EncoderUnavailableError(f"{model} is a file; give the folder that holds it and its config.json")
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise EncoderUnavailableError(
            f"there is no folder {model}; give a checkpoint's folder or its hub name"
        )
    return _find_cached(model)


def check_checkpoint(directory: Path) -> Path:
    """Return the folder if it has what every encoder needs: a readable config.json and whole safetensors.

    Raises:
        EncoderUnavailableError: something is missing; the message says what, and how to get it.
    """
    if not (directory / "config.json").is_file():
        raise EncoderUnavailableError(
            f"{directory} has no config.json, so it is no checkpoint in transformers' form; "
            "give the folder that save_pretrained wrote or the hub client downloaded"
        )
    read_settings(directory / "config.json")
    if (directory / "adapter_config.json").is_file():
        raise EncoderUnavailableError(
            f"{directory} holds an adapter (adapter_config.json), which would load another model by name; "
            "merge the two (peft's merge_and_unload, then save_pretrained), and give that folder"
        )
    present = {path.name for pattern in WEIGHTS for path in directory.glob(pattern)}
    if not present and any(directory.glob("*.bin")):
        raise EncoderUnavailableError(
            f"{directory} holds its weights only as a pickle (.bin), which can run code when opened, so it "
            "is never read here. Convert it to safetensors where you trust it: with transformers, "
            "AutoModel.from_pretrained(folder).save_pretrained(folder); or choose a checkpoint that has them"
        )
    if not present:
        raise EncoderUnavailableError(f"{directory} has no model.safetensors; the download may be cut short")
    index = directory / "model.safetensors.index.json"
    if index.is_file() and "model.safetensors" not in present:
        shards = read_settings(index).get("weight_map")
        wanted = set(shards.values()) if isinstance(shards, dict) else set()
        if missing := sorted(wanted - present):
            raise EncoderUnavailableError(
                f"{directory} lacks {', '.join(missing)}: copy or download it again"
            )
    return directory


def read_settings(path: Path) -> Mapping[str, object]:
    """Return a JSON file's object.

    Raises:
        EncoderUnavailableError: the file holds something else.
    """
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise EncoderUnavailableError(f"{path} is no JSON ({error}): copy or download it again") from error
    if not isinstance(settings, dict):
        raise EncoderUnavailableError(f"{path} holds no JSON object: copy or download the checkpoint again")
    return settings


def _find_cached(model: str) -> Path | None:
    """Return the newest whole snapshot in the hub client's cache, the main revision's first."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cached = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model, repo_type="model")
    conversions = sorted(cached.glob("refs/refs/pr/*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for ref in [cached / "refs" / "main", *conversions]:
        if ref.is_file():
            try:
                return check_checkpoint(cached / "snapshots" / ref.read_text("utf-8").strip())
            except EncoderUnavailableError:
                continue  # not whole, or without safetensors: the next may be, or the network helps
    return None


def _download(model: str) -> Path:
    """Download what an encoder needs through the hub client, which resumes what was cut short."""
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    def fetch(revision: str) -> Path:
        patterns = [*WEIGHTS, *SETTINGS]
        return Path(
            snapshot_download(model, revision=revision, allow_patterns=patterns, ignore_patterns="*/*")
        )

    try:
        folder = fetch("main")
        if not any(folder.glob("*.safetensors")):
            offers = HfApi().get_repo_discussions(model, author=_CONVERSION_BOT, discussion_status="open")
            offer = next((each for each in offers if each.title == _CONVERSION_TITLE), None)
            folder = fetch(offer.git_reference) if offer and offer.git_reference else folder
    except GatedRepoError as error:
        raise EncoderUnavailableError(
            f"{model} is open only to those who accepted its licence: do so on its page, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise EncoderUnavailableError(
            f"the hub knows no model {model}, or hides it without a login: check the spelling, or run "
            "`hf auth login`"
        ) from error
    except (OSError, ValueError, httpx.HTTPError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EncoderUnavailableError(
            f"{model} is neither a folder nor in the cache ({_cache()}), and could not be downloaded "
            f"({why}). Ways out: connect to the network, with HF_HUB_OFFLINE unset; or run "
            f"`hf download {model}` on a machine that is connected, and pass the folder here (--model PATH); "
            "or set HF_HOME to where it is cached"
        ) from error
    return check_checkpoint(folder)


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)
