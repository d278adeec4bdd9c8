"""Pictures of every type and shape: what is black, what is white, and what is refused by name."""

from __future__ import annotations

import io
import math
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tracking_core import Image, Video
from tracking_core.capture import capture, capture_images
from tracking_core.testing import frames_of, pixels_of

RAMP = numpy.linspace(0, 1, 64 * 64).reshape(64, 64)


def one(value: object) -> Any:
    taken, rejected = capture({"v": value})
    assert rejected == []
    return taken["v"]


def said(value: object) -> list[str]:
    """What is said of a value that is taken."""
    found: list[str] = []
    _, rejected = capture({"v": value}, lambda key, kind, what: found.append(what))
    assert rejected == []
    return found


def reason(value: object) -> str:
    taken, rejected = capture({"v": value})
    assert taken == {}
    return rejected[0].reason


objects = st.lists(st.none() | st.integers() | st.text() | st.builds(object), max_size=4).map(
    lambda items: numpy.array(items, dtype=object)
)
any_array = objects | arrays.arrays(
    st.one_of(
        arrays.boolean_dtypes(),
        arrays.integer_dtypes(endianness="?"),
        arrays.unsigned_integer_dtypes(endianness="?"),
        arrays.floating_dtypes(endianness="?"),
        arrays.complex_number_dtypes(),
        arrays.datetime64_dtypes(),
        arrays.timedelta64_dtypes(),
        arrays.byte_string_dtypes(),
        arrays.unicode_string_dtypes(),
        st.just(numpy.dtype([("a", "i4"), ("b", "f4")])),
        st.just(numpy.dtype("longdouble")),
    ),
    arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
)


class TestAnyArray:
    @settings(max_examples=300, deadline=None)
    @given(any_array, st.sampled_from([None, "HW", "HWC", "CHW"]))
    @pytest.mark.filterwarnings("error")
    def test_it_is_a_picture_or_refused_by_name(self, array: Any, layout: Any) -> None:
        before = array.tobytes()
        taken, rejected = capture({"v": Image(array, layout=layout)})
        assert array.tobytes() == before
        if rejected:
            assert not rejected[0].reason.startswith("reading it raised")
            return
        image: Any = taken["v"]
        assert image.channels in range(1, 5)
        assert len(image.data) == image.width * image.height * image.channels > 0
        assert pixels_of(image).shape == (image.height, image.width, image.channels)

    @settings(max_examples=300, deadline=None)
    @given(any_array, st.sampled_from([None, "HW", "HWC", "CHW"]))
    @pytest.mark.filterwarnings("error")
    def test_it_is_a_video_or_refused_by_name(self, array: Any, layout: Any) -> None:
        forms = [Video(array, layout=layout)]
        if array.ndim:
            forms.append(Video(list(array), layout=layout))
        for form in forms:
            taken, rejected = capture({"v": form})
            if rejected:
                assert not rejected[0].reason.startswith("reading it raised")
                continue
            video: Any = taken["v"]
            size = video.width * video.height * video.channels
            assert len(video.data) == size * video.frames > 0


class TestRange:
    @settings(deadline=None)
    @given(st.floats(0, 0.19), st.floats(1, 1.19))
    def test_an_overshoot_is_clipped_and_not_worth_a_word(self, below: float, high: float) -> None:
        ramp = RAMP * (high + below) - below
        for form in (ramp, ramp.astype("float32"), ramp * 255):
            pixels = pixels_of(one(Image(form)))
            assert (pixels.min(), pixels.max()) == (0, 255)
            assert len(numpy.unique(pixels)) > 150
            assert said(Image(form)) == []
        # As exact as it can be: what lies within is what it would be without the overshoot.
        inside = (ramp >= 0) & (ramp <= 1)
        expected = (ramp * 255 + 0.5).astype("uint8")[inside]
        found = pixels_of(one(Image(ramp)))[..., 0][inside]
        assert abs(found.astype(int) - expected).max() <= 1

    @settings(deadline=None)
    @given(st.floats(1e-300, 1e300), st.floats(-0.9, 4.9))
    def test_whatever_is_neither_is_stretched_and_visible(self, scale: float, top: float) -> None:
        ramp = RAMP * (top + 1) * scale - scale  # from -scale to top * scale
        pixels = pixels_of(one(Image(ramp)))
        assert (pixels.min(), pixels.max()) == (0, 255)
        assert len(numpy.unique(pixels)) == 256
        assert "stretched" in said(Image(ramp))[0]

    def test_a_video_has_one_range(self) -> None:
        frames = [numpy.full((2, 2), level) for level in (0.0, 0.5, 1.02)]
        for form in (numpy.stack(frames), frames):
            assert sorted(set(one(Video(form)).data)) == [0, 128, 255]

    @settings(deadline=None)
    @given(st.integers(8, 63))
    def test_integers_of_any_number_of_bits_keep_the_upper_eight(self, bits: int) -> None:
        largest = 2**bits - 1
        array = numpy.array([[0, largest // 2, largest]], "uint64")
        assert list(one(Image(array)).data) == [0, 127, 255]

    def test_nothing_is_said_of_what_loses_nothing(self) -> None:
        for form in (
            RAMP, RAMP * 255, RAMP > 0.5, (RAMP * 255).astype("uint8"), (RAMP * 255).astype("int64"),
            numpy.zeros((4, 4)), numpy.full((4, 4), 255, "uint16"), RAMP.astype("float16"),
        ):  # fmt: skip
            assert said(Image(form)) == []

    def test_of_a_video_everything_is_said_once(self) -> None:
        assert len(said(Video([PIL.Image.fromarray(numpy.full((4, 4), -1, "float32"))] * 3))) == 1
        assert len(said([Image(RAMP - 5)] * 3)) == 1


def test_a_large_picture_is_not_copied_more_often_than_it_has_to_be() -> None:
    floats = numpy.random.default_rng(0).random((4000, 1000, 3), "float32")
    for value, most in (
        (Image(numpy.zeros((4000, 1000, 3), "uint8")), 1.1),
        (Image(floats), 2.5),
        (Image(floats.astype("float16")), 6.5),
        (Video(floats.reshape(4, 1000, 1000, 3) * 3 - 1), 3.5),
        (Image((floats * 60_000).astype("uint16")), 2.5),
    ):
        tracemalloc.start()
        one(value)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < most * floats.size


class TestTensors:
    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch", reason="torch is not installed here")

    def test_every_type_is_a_picture_or_refused_by_name(self, torch: Any) -> None:
        names = [
            "bool", "uint8", "uint16", "int8", "int16", "int32", "int64", "float16", "bfloat16",
            "float32", "float64", "float8_e4m3fn", "float8_e5m2",
        ]  # fmt: skip
        for name in [name for name in names if hasattr(torch, name)]:
            image = one(Image(torch.ones(3, 4, 5).to(getattr(torch, name))))
            assert (image.height, image.width, image.channels) == (4, 5, 3)
        assert "give its abs()" in reason(Image(torch.ones(3, 4, 5, dtype=torch.complex64)))
        assert "meta device" in reason(Image(torch.ones(3, 4, 5, device="meta")))

    def test_tensors_in_unusual_memory(self, torch: Any) -> None:
        picture = torch.rand(5, 7, 3)
        expected = one(Image(picture.numpy())).data
        for form in (
            picture.permute(2, 0, 1),
            picture.permute(2, 0, 1).contiguous().requires_grad_(),
            torch.nn.Parameter(picture.permute(2, 0, 1)),
            picture.permute(2, 0, 1)[None],
        ):
            assert one(Image(form)).data == expected
        assert one(Image(torch.eye(4).to_sparse())).data == one(Image(torch.eye(4))).data
        assert one(Image(torch.rand(1, 4, 4).expand(3, 4, 4))).channels == 3

    def test_frames_may_be_tensors(self, torch: Any) -> None:
        frames = [torch.rand(3, 5, 7) for _ in range(4)]
        video = one(Video(frames))
        assert (video.frames, video.height, video.width, video.channels) == (4, 5, 7, 3)
        assert one(Video([frame[None] for frame in frames])).data == video.data


def test_arrays_of_other_libraries() -> None:
    jax = pytest.importorskip("jax.numpy", reason="JAX is not installed here")
    half = one(Image(jax.full((4, 5, 3), 0.5, "bfloat16")))
    assert (half.height, half.width, half.channels) == (4, 5, 3)
    assert set(half.data) == {128}

    class Like:
        dtype = numpy.dtype("float32")

        def __array__(self, dtype: object = None, copy: object = None) -> Any:
            return numpy.ones((2, 3), "float32")

    assert set(one(Image(Like())).data) == {255}


class TestPillow:
    def test_sixteen_bits_are_kept_as_far_as_eight_go(self) -> None:
        deep = PIL.Image.fromarray((RAMP * 65535).astype("uint16"))
        for mode in ("I;16", "I;16B", "I"):
            form = (
                deep
                if mode == "I;16"
                else deep.convert("I")
                if mode == "I"
                else deep.convert("I").convert("I;16B")
            )
            assert form.mode == mode
            assert len(set(one(form).data)) == 256
        assert len(set(one(PIL.Image.fromarray(RAMP.astype("float32"))).data)) == 256

    def test_a_transparent_colour_is_transparent(self) -> None:
        for mode in ("P", "L", "RGB"):
            picture = PIL.Image.new(mode, (2, 1), 0)
            picture.putpixel((1, 0), 255)
            picture.info["transparency"] = (0, 0, 0) if mode == "RGB" else 0
            assert pixels_of(one(picture))[0, :, 3].tolist() == [0, 255]

    def test_what_was_opened_and_not_read_yet(self, tmp_path: Path) -> None:
        path = tmp_path / "p.tiff"
        PIL.Image.new("RGB", (3, 2), "red").save(path)
        with PIL.Image.open(path) as picture:
            assert pixels_of(one(picture))[0, 0].tolist() == [255, 0, 0]

    def test_files_that_no_browser_shows_are_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "p.tiff"
        PIL.Image.fromarray((RAMP * 65535).astype("uint16")).save(path)
        image = one(Image(path, caption="c"))
        assert (image.format, image.width, image.caption) == ("raw", 64, "c")
        assert len(set(image.data)) == 256
        monkeypatch.delitem(sys.modules, "PIL.Image")
        assert "give what PIL.Image.open() makes of it" in reason(Image(path))

    def test_a_riff_file_is_not_always_a_picture(self) -> None:
        assert "nor any that Pillow reads" in reason(Image(b"RIFF\x04\0\0\0WAVEfmt "))

    def test_deep_pictures_need_numpy_to_be_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        picture = PIL.Image.new("F", (2, 2), 0.5)
        monkeypatch.delitem(sys.modules, "numpy")
        assert "mode 'F' needs numpy" in reason(picture)
        assert one(PIL.Image.new("RGB", (2, 2))).width == 2

    def test_a_moving_picture_is_where_it_was(self) -> None:
        file = io.BytesIO()
        frames = [PIL.Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
        frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
        picture = PIL.Image.open(file)
        picture.seek(1)
        video = one(Video(picture))
        assert frames_of(video)[:, 0, 0, :3].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
        assert picture.tell() == 1


class TestFigures:
    @pytest.fixture
    def pyplot(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed here")
        matplotlib.use("agg")
        import matplotlib.pyplot

        yield matplotlib.pyplot
        matplotlib.pyplot.close("all")

    def test_whatever_lies_on_a_figure_is_that_figure(self, pyplot: Any) -> None:
        figure, both = pyplot.subplots(2, figsize=(2, 1), dpi=50)
        lines = both[0].plot([1, 2])
        bars = both[1].bar([1], [2])

        class Grid:
            def __init__(self) -> None:
                self.fig = figure

        class Display:
            def __init__(self) -> None:
                self.figure_ = figure

        for form in (
            figure, both[0], both, list(both), lines, lines[0], bars, pyplot, Grid(), Display(),
            both[0].xaxis,
        ):  # fmt: skip
            for value in (form, Image(form)):
                image = one(value)
                assert not isinstance(image, list)
                assert (image.width, image.height, image.figure) == (100, 50, True)

    def test_figures_in_figures(self, pyplot: Any) -> None:
        figure = pyplot.figure(figsize=(2, 1), dpi=50)
        inner = figure.subfigures(1, 2)[0].subfigures(1, 2)[1]
        for form in (inner, inner.subplots()):
            assert (one(form).width, one(form).height) == (100, 50)

    def test_what_is_on_no_figure_or_on_several_is_refused(self, pyplot: Any) -> None:
        assert "pyplot has no figure" in reason(pyplot)
        line = pyplot.figure().subplots().plot([1])[0]
        line.remove()
        assert "on no figure, or on several" in reason(line)
        apart = numpy.array([pyplot.figure().subplots(), pyplot.figure().subplots()])
        assert "on no figure, or on several" in reason(apart)

    def test_a_list_of_figures_is_a_list_of_pictures(self, pyplot: Any) -> None:
        assert len(one([pyplot.figure(), pyplot.figure()])) == 2


class TestCaptions:
    @pytest.mark.parametrize(
        ("given", "kept"), [(None, None), (3, "3"), (numpy.str_("x"), "x"), ("\ud800", "\\ud800")]
    )
    def test_a_caption_is_text_whatever_it_was(self, given: Any, kept: str | None) -> None:
        assert one(Image(RAMP, caption=given)).caption == kept
        assert one(Video([RAMP], caption=given)).caption == kept


def test_batches_go_to_log_images_and_say_so() -> None:
    batch = numpy.zeros((2, 5, 7, 3))
    assert "log_images() takes a batch" in reason(Image(batch))
    taken, rejected = capture_images({"v": batch})
    assert rejected == []
    assert len(taken["v"]) == 2


def test_a_picture_that_looks_like_a_video_is_refused_until_it_is_said() -> None:
    assert "looks like one picture" in reason(Video(numpy.zeros((64, 64, 3))))
    assert one(Video(numpy.zeros((64, 64, 3)), layout="HW")).frames == 64


def test_videos_side_by_side_are_all_there() -> None:
    videos = numpy.random.default_rng(0).integers(0, 256, (5, 2, 3, 4, 1), dtype="uint8")
    frames = frames_of(one(Video(videos)))
    assert frames.shape == (2, 6, 12, 1)
    for number, video in enumerate(videos):
        top, left = number // 3 * 3, number % 3 * 4
        assert numpy.array_equal(frames[:, top : top + 3, left : left + 4], video)


@pytest.mark.parametrize("fps", [None, "fast", 0, -1, math.nan, math.inf, object()])
def test_a_strange_rate_costs_the_rate_only(fps: Any) -> None:
    assert one(Video([RAMP], fps=fps)).fps == 10
    assert "10 frames a second" in said(Video([RAMP], fps=fps))[0]


def test_some_rows_of_a_picture_are_a_picture() -> None:
    pixels = numpy.arange(6 * 4 * 3, dtype="uint8").reshape(6, 4, 3)
    whole = one(Image(pixels, caption="all"))
    part = whole[2:5]
    assert numpy.array_equal(numpy.asarray(part), pixels[2:5]) and part.caption == "all"
    assert numpy.array_equal(numpy.asarray(whole[::-2]), pixels[::-2])
    assert whole[:60] == whole
    with pytest.raises(TypeError, match="held as png"):
        msgspec.structs.replace(whole, format="png")[:1]
