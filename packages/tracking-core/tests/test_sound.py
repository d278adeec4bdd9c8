"""Sound of every sample type."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tracking_core import Audio
from tracking_core.capture import capture
from tracking_core.encoding import audio_file
from tracking_core.testing import samples_of

WAVE = numpy.sin(numpy.linspace(0, 20, 200))


def one(value: object) -> Any:
    taken, rejected = capture({"v": value})
    assert rejected == []
    return taken["v"]


def reason(value: object) -> str:
    taken, rejected = capture({"v": value})
    assert taken == {}
    return rejected[0].reason


def heard(data: object) -> Any:
    return samples_of(one(Audio(data, 8000)))[0][:, 0].astype(float) / 32768


@pytest.mark.parametrize(
    ("dtype", "middle", "full"),
    [
        ("int8", 0, 127), ("uint8", 128, 127), ("int16", 0, 32767), ("uint16", 32768, 32767),
        ("int32", 0, 2**31 - 1), ("uint32", 2**31, 2**31 - 1), ("int64", 0, 2**63 - 1024),
        ("uint64", 2**63, 2**63 - 2048), ("float16", 0, 1), ("float32", 0, 1), ("float64", 0, 1),
        ("longdouble", 0, 1), (">i2", 0, 32767), (">i4", 0, 2**31 - 1),
    ],
)  # fmt: skip
def test_the_same_sound_in_every_type(dtype: str, middle: int, full: int) -> None:
    held = (WAVE * full).astype(dtype) if dtype[0] == "f" or dtype == "longdouble" else (
        (WAVE.astype("longdouble") * full).astype("int64") + 0
        if not middle
        else numpy.array([int(sample * full) + middle for sample in WAVE], dtype="uint64")
    ).astype(dtype)  # fmt: skip
    assert abs(heard(held) - WAVE).max() < 0.02


def test_samples_of_sixteen_bits_in_larger_integers_are_kept() -> None:
    exact = (WAVE * 32767).astype("int16")
    for dtype in ("int16", "int32", "int64"):
        samples, _ = samples_of(one(Audio(exact.astype(dtype), 8000)))
        assert numpy.array_equal(samples[:, 0], exact)


any_array = st.just(numpy.array([0.5, None], dtype=object)) | arrays.arrays(
    st.one_of(
        arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(),
        arrays.floating_dtypes(), arrays.complex_number_dtypes(), arrays.unicode_string_dtypes(),
        st.just(numpy.dtype("longdouble")),
    ),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(any_array)
@pytest.mark.filterwarnings("error")
def test_any_array_is_sound_or_refused_by_name(array: Any) -> None:
    before = array.tobytes()
    taken, rejected = capture({"v": Audio(array, 8000)})
    assert array.tobytes() == before
    if rejected:
        assert not rejected[0].reason.startswith("reading it raised")
        return
    audio: Any = taken["v"]
    assert len(audio.data) == 2 * array.size
    assert audio_file(audio)[1] == "wav"


class TestTensors:
    def test_shapes_and_types(self) -> None:
        torch = pytest.importorskip("torch", reason="torch is not installed here")
        for shape, expected in (
            ((1, 9), (9, 1)),
            ((2, 9), (9, 2)),
            ((9,), (9, 1)),
            ((9, 1), (9, 1)),
            ((1, 2, 9), (9, 2)),
        ):
            for dtype in (torch.float32, torch.bfloat16, torch.int16, torch.uint8):
                found, _ = samples_of(one(Audio(torch.ones(shape).to(dtype), 8000)))
                assert found.shape == expected
        assert "meta device" in reason(Audio(torch.ones(9, device="meta"), 8000))


@pytest.mark.parametrize("rate", [8000, 8000.0, "8000", numpy.int64(8000), numpy.float32(8000)])
def test_a_rate_may_be_any_number(rate: Any) -> None:
    audio = one(Audio(WAVE, rate))
    assert (type(audio.sample_rate), audio.sample_rate) == (int, 8000)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), "fast", 1e300, object()])
def test_what_is_no_rate_is_refused(rate: Any) -> None:
    assert "is no number of samples a second" in reason(Audio(WAVE, rate))


def test_more_than_a_file_holds_is_refused_at_once() -> None:
    wide = numpy.broadcast_to(numpy.zeros(1, "int8"), (40_001, 40_000))
    assert "more than a WAV file holds" in reason(Audio(wide, 8000))
    assert "more than a WAV file holds" in reason(Audio(numpy.zeros((5, 2)), 2**31))


def test_a_file_has_its_rate_and_caption_as_a_number_and_a_text(tmp_path: Any) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"sound")
    audio = one(Audio(path, numpy.float64(44100.0), caption=7))
    assert (type(audio.sample_rate), audio.caption) == (int, "7")
