"""A run's folder: the checkpoint that came out best, the run's story so far, and where to go on after a kill.

    model.safetensors, config.json, …   the best checkpoint, as any transformers program opens it
    training.json                       the recipe, the data, dev recall of the start and of each epoch
    steps.jsonl                         a line a step: loss, learning rate, temperature
    resume.safetensors                  weights, optimizer, counters after some step; gone at the end

Each file is written under another name and then renamed, so a killed run leaves whole files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.errors import CheckpointFolderError

STORY, STEPS, RESUME = "training.json", "steps.jsonl", "resume.safetensors"


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a run was: counters and tensors by name."""

    counters: dict[str, Any]
    tensors: dict[str, Tensor]


class RunFolder:
    """The files of one run."""

    def __init__(self, directory: Path) -> None:
        """Take the folder; nothing is made yet."""
        self.directory = directory

    def open(self, identity: Mapping[str, object]) -> dict[str, Any] | None:
        """Return the story of this very run if it has begun here; None if the folder is empty or new.

        Args:
            identity: what makes it the same run: recipe, start, data; JSON values.

        Raises:
            CheckpointFolderError: the folder holds something else, or another run.
        """
        story = self.directory / STORY
        if not story.is_file():
            if self.directory.exists() and any(self.directory.iterdir()):
                raise CheckpointFolderError(
                    f"{self.directory} holds files, but no training run; name another folder with --out"
                )
            return None
        told: dict[str, Any] = json.loads(story.read_text("utf-8"))
        before = told.get("identity", {})
        other = sorted(key for key in {*before, *identity} if before.get(key) != identity.get(key))
        if other:
            raise CheckpointFolderError(
                f"{self.directory} holds a run with another {', '.join(other)}; name another folder with"
                " --out, or delete that one"
            )
        return told

    def write_story(self, story: Mapping[str, object]) -> None:
        """Write training.json."""
        self.directory.mkdir(parents=True, exist_ok=True)
        _replace(self.directory / STORY, json.dumps(story, indent=2, ensure_ascii=False))

    def append_step(self, step: Mapping[str, object]) -> None:
        """Add a line to steps.jsonl."""
        with (self.directory / STEPS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(step) + "\n")

    def steps(self) -> list[dict[str, Any]]:
        """Return the lines of steps.jsonl that are whole."""
        path = self.directory / STEPS
        lines = path.read_text("utf-8").split("\n")[:-1] if path.is_file() else []
        return [json.loads(line) for line in lines]

    def forget_steps_after(self, step: int) -> None:
        """Drop the lines of steps that will be done again."""
        kept = [json.dumps(each) + "\n" for each in self.steps() if each["step"] <= step]
        _replace(self.directory / STEPS, "".join(kept))

    def save_resume(self, resume: Resume) -> None:
        """Write where the run is."""
        temporary = self.directory / f".{RESUME}"
        save_file(writable(resume.tensors), temporary, metadata={"counters": json.dumps(resume.counters)})
        temporary.replace(self.directory / RESUME)

    def load_resume(self) -> Resume | None:
        """Return where the run was; None if it never got as far as to say."""
        path = self.directory / RESUME
        if not path.is_file():
            return None
        with safe_open(path, framework="pt") as file:
            counters = json.loads(file.metadata()["counters"])
            return Resume(counters, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118

    def finish(self) -> None:
        """Drop what was kept to go on from."""
        (self.directory / RESUME).unlink(missing_ok=True)


def writable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as safetensors takes them: contiguous, none in another's memory."""
    seen: set[int] = set()
    alone = {}
    for name, tensor in tensors.items():
        whole = tensor.detach().contiguous()
        alone[name] = whole.clone() if whole.data_ptr() in seen else whole
        seen.add(whole.data_ptr())
    return alone


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state as tensors by name: "optimizer.<parameter's number>.<what>"."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put optimizer_tensors back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, what = name.split(".", 2)
            state.setdefault(int(number), {})[what] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
