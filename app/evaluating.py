"""The verb `evaluate`, whole: captions file -> photos chosen -> encoded or asked of a service -> figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.progress import Progress
from app.running_service import RunningService, ask_captions, find_collection, find_photos, first_few
from app.service import DEFAULT_MODEL, open_encoder
from app.settings import Settings
from embedding.encoder import fingerprint_of
from training.bootstrap import SAMPLES, Estimate, differences, estimates
from training.captions import load_captioned_photos
from training.encoded_gallery import FailedPhoto, encode_gallery
from training.errors import EvaluationError
from training.metrics import Measured, Ranks, first_hits
from training.photos import CaptionedPhoto
from training.questions import (
    Place,
    bad_cameras,
    by_both,
    by_captions,
    by_long_texts,
    by_pictures,
    of_bad_photos,
    rank_captions,
)

SPLITS = ("train", "dev", "test")
ENCODER_ONLY = ("corruptions", "hybrid", "long_texts", "image_to_image")
Estimates = Mapping[Place, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What is asked of `evaluate`; the command line's help describes each field."""

    captions: Path
    images: Path | None = None
    split: str | None = None
    model: str | None = None
    compare: str | None = None
    through: str = "encoder"
    url: str = "http://127.0.0.1:8000"
    collection: str | None = None
    corruptions: bool = False
    hybrid: bool = False
    long_texts: bool = False
    image_to_image: bool = False
    everything: bool = False
    """All four of these."""
    samples: int = SAMPLES

    def __post_init__(self) -> None:
        """Refuse what cannot be asked together.

        Raises:
            EvaluationError: says what.
        """
        if self.through == "api" and (
            self.compare is not None or any(self.asks(kind) for kind in ENCODER_ONLY)
        ):
            raise EvaluationError(
                "a service answers captions only: --compare, --corruptions, --hybrid, --long,"
                " --image-to-image and --all need the encoder itself; leave out --through api"
            )

    def asks(self, kind: str) -> bool:
        """Say whether one of ENCODER_ONLY is asked for."""
        return self.everything or bool(getattr(self, kind))


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """Which encoder answered."""

    checkpoint: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What one encoder, or the service, made of the questions."""

    encoder: EncoderFacts
    photos: list[CaptionedPhoto]
    measured: dict[Place, Measured]
    ranks: dict[str, Ranks] = field(default_factory=dict)
    """Ranks by direction, where all of them are known."""
    failed: list[FailedPhoto] = field(default_factory=list)
    truncated: int = 0
    """Joined captions longer than the encoder reads."""
    gallery: int | None = None
    """Pictures in the service's collection, all of which were asked."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures with their intervals, and where two encoders are compared, ours less the other's."""

    request: EvaluationRequest
    ours: Answers
    estimates: Estimates
    other: Answers | None = None
    other_estimates: Estimates = field(default_factory=dict)
    differences: Estimates = field(default_factory=dict)


def run_evaluation(request: EvaluationRequest, settings: Settings, progress: Progress) -> Evaluation:
    """Ask everything that was requested; photos that cannot be read are left out, and named in the answer.

    Raises:
        CaptionsError: the captions file cannot be read.
        EvaluationError: the split is empty or names unknown photos, or the service cannot be asked.
        EncoderUnavailableError: a checkpoint cannot be loaded.
    """
    photos = choose_photos(load_captioned_photos(request.captions, request.images), request.split)
    if request.through == "api":
        ours = _ask_service(request, settings, photos, progress)
        return Evaluation(request, ours, estimates(ours.measured, samples=request.samples))
    models = [settings.replace(model=request.model).model or DEFAULT_MODEL]
    models += [request.compare] if request.compare is not None else []
    progress.begin("evaluating", len(models) * _steps(request, photos))
    ours, *others = (_ask_encoder(model, request, settings, photos, progress) for model in models)
    found = estimates(ours.measured, samples=request.samples)
    if not others:
        return Evaluation(request, ours, found)
    (other,) = others
    if [photo.name for photo in ours.photos] != [photo.name for photo in other.photos]:
        raise EvaluationError("photos came or went while the two checkpoints were compared; run it again")
    return Evaluation(
        request,
        ours,
        found,
        other,
        estimates(other.measured, samples=request.samples),
        differences(ours.measured, other.measured, samples=request.samples),
    )


def choose_photos(photos: Sequence[CaptionedPhoto], split: str | None) -> list[CaptionedPhoto]:
    """Return the photos of a split, in its order: a file of names, one a line, or the captions file's own.

    Raises:
        EvaluationError: there is no such file or split, it is empty, or it names unknown photos.
    """
    if split is None:
        return list(photos)
    if split in SPLITS and not Path(split).exists():
        chosen = [photo for photo in photos if photo.split == split]
        if not chosen:
            raise EvaluationError(f"the captions file has no split {split}; give --split a file of names")
        return chosen
    try:
        lines = Path(split).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise EvaluationError(f"the split {split} cannot be read: {why}") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise EvaluationError(f"the split {split} is empty; it holds the name of a photo in each line")
    by_name = {photo.name: photo for photo in photos}
    if unknown := [name for name in names if name not in by_name]:
        raise EvaluationError(
            f"the split {split} names {len(unknown):,} photos that the captions file does not:"
            f" {first_few(unknown)}"
        )
    return [by_name[name] for name in names]


def _ask_encoder(
    model: str,
    request: EvaluationRequest,
    settings: Settings,
    photos: Sequence[CaptionedPhoto],
    progress: Progress,
) -> Answers:
    encoder = open_encoder(settings.replace(model=model), None)
    gallery = encode_gallery(
        encoder,
        photos,
        distortions=bad_cameras() if request.asks("corruptions") else {},
        max_pixels=settings.max_pixels,
        advance=progress.advance,
    )
    facts = EncoderFacts(encoder.checkpoint, encoder.fingerprint)
    if not gallery.photos:
        return Answers(facts, [], {}, failed=gallery.encoded.failed)
    ranks = rank_captions(gallery)
    measured = by_captions(ranks)
    if request.asks("image_to_image"):
        measured |= by_pictures(gallery)
    if request.asks("hybrid"):
        measured |= by_both(gallery)
    truncated = 0
    if request.asks("long_texts"):
        long_texts, truncated = by_long_texts(gallery, ranks, encoder, progress.advance)
        measured |= long_texts
    if request.asks("corruptions"):
        measured |= of_bad_photos(gallery, ranks)
    by_direction = {"text_to_image": ranks.text_to_image, "image_to_text": ranks.image_to_text}
    return Answers(facts, gallery.photos, measured, by_direction, gallery.encoded.failed, truncated)


def _ask_service(
    request: EvaluationRequest, settings: Settings, photos: Sequence[CaptionedPhoto], progress: Progress
) -> Answers:
    progress.begin("asking the service", sum(len(photo.captions) for photo in photos))
    with RunningService(request.url, key=settings.api_key) as service:
        collection = find_collection(service, request.collection, request.images)
        sought = find_photos(service, collection, photos)
        ranks, encoder = ask_captions(service, collection, photos, sought, progress.advance)
    if request.model is not None and fingerprint_of(request.model) != encoder.fingerprint:
        raise EvaluationError(
            f"the service at {request.url} answers with {encoder.checkpoint} (fingerprint"
            f" {encoder.fingerprint[:12]}), not with {request.model}"
        )
    photo_of_text = np.repeat(np.arange(len(photos)), [len(photo.captions) for photo in photos])
    return Answers(
        EncoderFacts(encoder.checkpoint, encoder.fingerprint),
        list(photos),
        {("text_to_image",): first_hits(ranks, photo_of_text)},
        gallery=collection.images,
    )


def _steps(request: EvaluationRequest, photos: Sequence[CaptionedPhoto]) -> int:
    """Return how many photos, distorted photos and texts one encoder is to encode, if all can be read."""
    versions = 1 + (len(bad_cameras()) if request.asks("corruptions") else 0)
    joined = sum(len(photo.captions) > 1 for photo in photos) if request.asks("long_texts") else 0
    return versions * len(photos) + sum(len(photo.captions) for photo in photos) + joined
