"""OpenVINO beside PyTorch: the same vectors, of every family, from a conversion that is kept whole."""

import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino_telemetry
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from embedding import engines, openvino_conversion, openvino_engine
from embedding.encoder import Encoder, fingerprint, load_encoder
from embedding.errors import EncoderUnavailableError
from tests.embedding.test_transformers_encoder import TEXTS, cosines, pictures
from tests.encoders import tiny_clip, tiny_convolutional, tiny_dual_encoder, tiny_naflex, tiny_siglip

FAMILIES = {"clip": tiny_clip, "siglip": tiny_siglip, "dual": tiny_dual_encoder, "conv": tiny_convolutional}


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def exact(checkpoint: Path) -> Encoder:
    return load_encoder(str(checkpoint), engine="torch", precision="float32")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoints") / "clip")


@pytest.fixture(scope="module")
def converted(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    by_openvino(clip, folder)
    return folder


@pytest.fixture
def kept(converted: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own in which clip is converted already."""
    return Path(shutil.copytree(converted, tmp_path / "kept"))


def by_openvino(checkpoint: Path, cache_dir: Path, precision: str = "auto") -> Encoder:
    encoder = load_encoder(str(checkpoint), engine="openvino", precision=precision, cache_dir=cache_dir)
    assert computes(encoder) == "OpenVinoEngine"
    return encoder


def computes(encoder: Encoder) -> str:
    """Return the name of the engine's class."""
    return type(encoder._engine).__name__  # type: ignore[attr-defined]


def least_cosine(one: Encoder, other: Encoder) -> float:
    """Return the worst over pictures and texts, alone and in crowds."""
    found: list[NDArray[np.float32]] = [
        cosines(one.encode_images(pictures(19)), other.encode_images(pictures(19))),
        cosines(one.encode_texts(TEXTS), other.encode_texts(TEXTS)),
        *(cosines(one.encode_texts([text]), other.encode_texts([text])) for text in TEXTS),
        cosines(one.encode_images(pictures(1)), other.encode_images(pictures(1))),
    ]
    return float(np.concatenate(found).min())


def test_in_float32_it_gives_what_pytorch_gives(checkpoint: Path, exact: Encoder, cache_dir: Path) -> None:
    assert least_cosine(by_openvino(checkpoint, cache_dir, "float32"), exact) > 0.99999


def test_in_bfloat16_its_vectors_may_stand_beside_pytorchs(
    checkpoint: Path, exact: Encoder, cache_dir: Path
) -> None:
    faster = by_openvino(checkpoint, cache_dir, "bfloat16")
    assert least_cosine(faster, exact) > 0.999
    assert least_cosine(faster, load_encoder(str(checkpoint), engine="torch", precision="bfloat16")) > 0.999
    assert faster.fingerprint == exact.fingerprint
    assert faster.preprocessing() == exact.preprocessing()


def test_threads_share_it(clip: Path, converted: Path) -> None:
    encoder = by_openvino(clip, converted, "float32")
    texts = [TEXTS[at % 2] * (1 + at) for at in range(12)]
    expected_texts, expected_pictures = encoder.encode_texts(texts), encoder.encode_images(pictures(12))

    def ask(at: int) -> float:
        text, picture = (
            encoder.encode_texts([texts[at]])[0],
            encoder.encode_images(pictures(12)[at : at + 1])[0],
        )
        return float(min(text @ expected_texts[at], picture @ expected_pictures[at]))

    with ThreadPoolExecutor(8) as pool:
        assert min(pool.map(ask, list(range(len(texts))) * 5)) > 0.9999


def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that grows with each conversion from now on."""
    done: list[Path] = []
    real = openvino_engine.convert

    def counted(directory: Path, readers: object, folder: Path) -> None:
        done.append(directory)
        real(directory, readers, folder)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_engine, "convert", counted)
    return done


def test_a_checkpoint_is_converted_once_and_kept_by_its_fingerprint(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = conversions(monkeypatch)
    by_openvino(clip, tmp_path, "float32")
    by_openvino(clip, tmp_path, "bfloat16")
    assert len(done) == 1
    assert [path.name for path in (tmp_path / "openvino").glob("[!.]*")] == [fingerprint(clip)]
    assert not list((tmp_path / "openvino").glob(f".{fingerprint(clip)}-*")), "nothing half-made is left"


def test_other_weights_are_converted_anew(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = conversions(monkeypatch)
    other = tiny_clip(tmp_path / "other", seed=1)
    one, two = (by_openvino(each, tmp_path, "float32") for each in (clip, other))
    assert len(done) == 2
    assert cosines(one.encode_texts(TEXTS[:1]), two.encode_texts(TEXTS[:1])).max() < 0.9


@pytest.mark.parametrize(
    ("name", "harm"),
    [("image.bin", "bit"), ("text.xml", "cut"), ("text.bin", "gone"), ("manifest.json", "cut")],
)
def test_a_damaged_conversion_is_made_anew(
    name: str, harm: str, clip: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept / "openvino" / fingerprint(clip) / name
    if harm == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif harm == "bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    done = conversions(monkeypatch)
    by_openvino(clip, kept)
    by_openvino(clip, kept)
    assert len(done) == 1


def test_another_version_converts_anew(clip: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = conversions(monkeypatch)
    by_openvino(clip, kept)
    assert not done
    monkeypatch.setitem(openvino_engine._VERSIONS, "openvino", "another")
    by_openvino(clip, kept)
    assert len(done) == 1


def test_what_a_killed_conversion_left_is_cleared_away(clip: Path, tmp_path: Path) -> None:
    abandoned = tmp_path / "openvino" / f".{fingerprint(clip)}-abandoned" / "fresh"
    abandoned.mkdir(parents=True)
    (abandoned / "image.bin").write_bytes(b"half of it")
    by_openvino(clip, tmp_path)
    assert not abandoned.exists()


def test_auto_takes_it_on_a_processor_where_there_is_a_place_to_keep_it(clip: Path, converted: Path) -> None:
    assert computes(load_encoder(str(clip), device="cpu", cache_dir=converted)) == "OpenVinoEngine"
    assert computes(load_encoder(str(clip), device="cpu")) == "TorchEngine"
    assert computes(load_encoder(str(clip), engine="torch", cache_dir=converted)) == "TorchEngine"


def test_where_it_is_not_installed_auto_does_without_and_asking_for_it_says_how_to_get_it(
    clip: Path, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert computes(load_encoder(str(clip), device="cpu", cache_dir=converted)) == "TorchEngine"
    with pytest.raises(EncoderUnavailableError, match=r"pip install 'image-retrieval\[openvino\]'"):
        load_encoder(str(clip), engine="openvino", cache_dir=converted)


def test_a_family_that_it_cannot_compute_is_refused_and_left_to_pytorch_by_auto(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    naflex = tiny_naflex(tmp_path / "naflex")
    with pytest.raises(EncoderUnavailableError, match=r"NaFlex.* use it with the engine torch"):
        load_encoder(str(naflex), engine="openvino", cache_dir=tmp_path)
    with caplog.at_level(logging.INFO, "embedding"):
        assert computes(load_encoder(str(naflex), device="cpu", cache_dir=tmp_path)) == "TorchEngine"
    assert "NaFlex" in caplog.text


def test_a_conversion_that_computes_otherwise_is_never_used_and_not_tried_again(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = conversions(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(openvino_conversion, "_least_cosine", lambda *_: 0.97)
        with pytest.raises(EncoderUnavailableError, match=r"computes it otherwise: a cosine of 0.9700"):
            by_openvino(clip, tmp_path)
    assert computes(load_encoder(str(clip), device="cpu", cache_dir=tmp_path)) == "TorchEngine"
    assert len(done) == 1


def test_damaged_weights_are_told_as_with_pytorch(tmp_path: Path) -> None:
    checkpoint = tiny_clip(tmp_path / "damaged")
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["text_projection.weight"][0, 0] = float("nan")
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderUnavailableError, match=r"not finite.* weights are damaged"):
        by_openvino(checkpoint, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "abacus"}, "no engine 'abacus'; choose auto, torch, openvino"),
        ({"engine": "openvino", "precision": "int3"}, "no precision 'int3'"),
        ({"engine": "openvino", "device": "meta"}, "computes on processors, not on meta"),
    ],
)
def test_what_is_not_there_is_refused(
    settings: dict[str, str], message: str, clip: Path, cache_dir: Path
) -> None:
    with pytest.raises(EncoderUnavailableError, match=message):
        load_encoder(str(clip), cache_dir=cache_dir, **settings)  # type: ignore[arg-type]


def test_a_data_folder_that_cannot_be_written_is_named(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "openvino").write_text("a file in its place")
    with pytest.raises(EncoderUnavailableError, match=f"cannot be kept in {tmp_path}"):
        by_openvino(clip, tmp_path)
    assert computes(load_encoder(str(clip), device="cpu", cache_dir=tmp_path)) == "TorchEngine"


def test_converting_and_computing_say_nothing_and_report_nothing_to_anybody(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("OpenVINO's telemetry was started")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "init", told)
    by_openvino(clip, tmp_path).encode_texts(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_whoever_takes_pytorch_does_not_load_openvino(clip: Path) -> None:
    script = f"""
import sys
from embedding.encoder import load_encoder
load_encoder({str(clip)!r})
assert "openvino" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
