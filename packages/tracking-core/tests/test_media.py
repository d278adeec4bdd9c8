"""Pictures, sound, tables and distributions become plain data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import pytest

from tracking_core import Artifact, Audio, Histogram, Image, Table, Video
from tracking_core.capture import capture, capture_images
from tracking_core.encoding import audio_file, csv_text, image_file, markdown, video_file
from tracking_core.records import LoggedImage
from tracking_core.testing import frames_of, pixels_of, samples_of


def one(value: object) -> Any:
    taken, rejected = capture({"v": value})
    assert rejected == []
    return taken["v"]


def reason(value: object) -> str:
    taken, rejected = capture({"v": value})
    assert taken == {}
    return rejected[0].reason


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> Any:
    return numpy.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


class TestImages:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_bytes_are_kept_through_a_png_of_any_number_of_channels(self, channels: int) -> None:
        picture = noise(5, 7, channels)
        assert numpy.array_equal(pixels_of(one(Image(picture))), picture)

    def test_layouts(self) -> None:
        picture = noise(5, 7, 3)
        for form in (picture, picture.transpose(2, 0, 1), picture[:, ::-1][:, ::-1]):
            assert numpy.array_equal(pixels_of(one(Image(form))), picture)
        assert numpy.array_equal(pixels_of(one(Image(picture[..., 0])))[..., 0], picture[..., 0])

    def test_a_doubtful_shape_is_read_as_said(self) -> None:
        picture = noise(3, 5, 3)
        assert one(Image(picture)).height == 3
        first = one(Image(picture, layout="CHW"))
        assert (first.height, first.width) == (5, 3)
        assert numpy.array_equal(pixels_of(first), picture.transpose(1, 2, 0))

    @pytest.mark.parametrize(
        ("array", "expected"),
        [
            (numpy.array([[0.0, 0.5, 1.0]]), [0, 128, 255]),
            (numpy.array([[0.0, 128.0, 255.0]], "float32"), [0, 128, 255]),
            (numpy.array([[-1.0, 0.0, 1.0]]), [0, 128, 255]),
            (numpy.array([[0.0, numpy.nan, numpy.inf]], "float16"), [0, 0, 0]),
            (numpy.array([[True, False, True]]), [255, 0, 255]),
            (numpy.array([[0, 256, 65535]], "uint16"), [0, 1, 255]),
            (numpy.array([[0, 7, 255]], "uint16"), [0, 7, 255]),
            (numpy.array([[-5, 7, 300]], "int64"), [0, 7, 255]),
            (numpy.array([[5.0, 5.0, 5.0]]), [5, 5, 5]),
            (numpy.array([[-5.0, -5.0, -5.0]]), [0, 0, 0]),
        ],
    )
    def test_pixels_of_other_types(self, array: Any, expected: list[int]) -> None:
        before = array.copy()
        assert list(one(Image(array)).data) == expected
        assert numpy.array_equal(array, before, equal_nan=array.dtype.kind == "f")

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
    def test_pillow_images_of_every_mode(self, mode: str) -> None:
        picture = PIL.Image.fromarray(noise(4, 6, 3)).convert("L" if mode == "LA" else "RGB")
        image = one(picture.convert(mode))
        assert (image.width, image.height) == (6, 4)
        assert pixels_of(image).shape[:2] == (4, 6)
        if mode in ("RGB", "RGBA"):
            assert numpy.array_equal(pixels_of(image)[..., :3], numpy.asarray(picture))

    def test_files_are_kept_as_they_are(self, tmp_path: Path) -> None:
        picture = PIL.Image.fromarray(noise(4, 6, 3))
        for suffix, name in (("png", "png"), ("jpg", "jpeg"), ("gif", "gif"), ("webp", "webp")):
            path = tmp_path / f"picture.{suffix}"
            picture.save(path)
            image = one(Image(path, caption="c"))
            assert image_file(image) == (path.read_bytes(), name)
            assert image.caption == "c"
            assert (image.width, image.height) == ((6, 4) if name in ("png", "gif") else (0, 0))

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("not a picture")
        assert "is no PNG, JPEG, GIF, WebP or BMP" in reason(Image(tmp_path / "notes.txt"))

    def test_a_caption_lies_in_the_png(self) -> None:
        data, suffix = image_file(one(Image(noise(2, 2, 3), caption="naïve 猫")))
        assert suffix == "png"
        with PIL.Image.open(io.BytesIO(data)) as picture:
            assert picture.text == {"Description": "naïve 猫"}  # type: ignore[attr-defined]  # PNG only

    def test_figures(self) -> None:
        figures = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
        figure = figures.Figure(figsize=(2, 1), dpi=50)
        figure.subplots().plot([1, 2, 3])
        for form in (figure, Image(figure, caption="loss")):
            image = one(form)
            assert (image.width, image.height, image.format, image.figure) == (100, 50, "png", True)
            assert pixels_of(image).shape == (50, 100, 4)

    @pytest.mark.parametrize(
        "data",
        [
            numpy.zeros((2, 5, 7, 3)),
            numpy.zeros((5, 7, 9)),
            numpy.zeros(4),
            numpy.zeros((0, 4)),
            numpy.array([["a"]]),
            [[1, 2]],
            None,
            object(),
        ],
    )
    def test_what_is_no_picture_is_refused(self, data: object) -> None:
        assert reason(Image(data))

    def test_a_layout_that_is_none_is_refused(self) -> None:
        assert "is none of" in reason(Image(noise(2, 2, 3), layout="WHC"))  # type: ignore[arg-type]  # the point

    def test_batches_and_lists(self) -> None:
        batch = noise(3, 4, 5, 3)
        for form, layout in (
            (batch, None),
            (list(batch), None),
            (batch.transpose(0, 3, 1, 2), "NCHW"),
        ):
            taken, rejected = capture_images({"b": form}, layout)
            assert rejected == []
            images = taken["b"]
            assert isinstance(images, list)
            assert [
                pixels_of(image).tolist() for image in images if isinstance(image, LoggedImage)
            ] == batch.tolist()


class TestSound:
    def test_samples_are_kept(self) -> None:
        stereo = noise(50, 2, dtype="int16") * 100 - 12800
        for form in (stereo, stereo.T):
            samples, rate = samples_of(one(Audio(form, 8000)))
            assert rate == 8000
            assert numpy.array_equal(samples, stereo)

    def test_floats_are_scaled_and_clipped(self) -> None:
        samples, _ = samples_of(one(Audio(numpy.array([0, 0.5, 1, -1, 7, numpy.nan]), 8000)))
        assert samples[:, 0].tolist() == [0, 16384, 32767, -32767, 32767, 0]

    def test_a_file_is_kept_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "beep.mp3"
        path.write_bytes(b"not really")
        assert audio_file(one(Audio(path, caption="c"))) == (b"not really", "mp3")

    def test_an_array_needs_its_rate(self) -> None:
        assert "sample_rate" in reason(Audio(numpy.zeros(5)))
        assert "takes an array" in reason(Audio(numpy.zeros((2, 2, 2)), 8000))


class TestVideo:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_frames_are_kept_through_an_animated_png(self, channels: int) -> None:
        frames = noise(4, 5, 6, channels)
        video = one(Video(frames, fps=5))
        assert numpy.array_equal(frames_of(video), frames)
        data, suffix = video_file(video)
        assert suffix == "png"
        with PIL.Image.open(io.BytesIO(data)) as picture:
            assert picture.n_frames == 4  # type: ignore[attr-defined]  # animated formats
            assert picture.info["duration"] == 200

    def test_layouts(self) -> None:
        frames = noise(4, 5, 6, 3)
        assert numpy.array_equal(frames_of(one(Video(frames.transpose(0, 3, 1, 2)))), frames)
        grey = frames_of(one(Video(frames[..., 0])))
        assert numpy.array_equal(grey[..., 0], frames[..., 0])

    def test_floats_are_stretched_over_the_whole_video(self) -> None:
        frames = numpy.stack([numpy.full((2, 2), -1.0), numpy.full((2, 2), 1.0)])
        assert set(one(Video(frames)).data) == {0, 255}

    @pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e9, 1e-9])
    def test_a_strange_rate_still_gives_a_file(self, fps: float) -> None:
        assert video_file(one(Video(noise(2, 2, 2, 3), fps=fps)))[0]

    def test_what_is_no_video_is_refused(self) -> None:
        assert "(T, H, W)" in reason(Video(numpy.zeros((2, 2))))


class TestTables:
    def test_rows_of_all_kinds(self) -> None:
        rows = [["a", 1], ["b", numpy.float32(0.5)]]
        for table in (
            Table(["x", "y"], rows),
            Table(["x", "y"], iter(rows)),
            Table(data=[{"x": "a", "y": 1}, {"x": "b", "y": 0.5}]),
            Table(["x", "y"], numpy.array(rows, dtype=object)),
        ):
            logged = one(table)
            assert logged.columns == ["x", "y"]
            assert logged.rows == [["a", 1], ["b", 0.5]]

    def test_dataframes(self) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
        frame = pandas.DataFrame({"x": ["a", "b"], 3: [1, 2]})
        logged = one(Table(dataframe=frame))
        assert (logged.columns, logged.rows) == (["x", "3"], [["a", 1], ["b", 2]])

    def test_columns_without_names_are_numbered(self) -> None:
        assert one(Table(data=[[1, 2]])).columns == ["0", "1"]
        assert one(Table(data=[])).columns == []

    def test_cells_that_are_no_plain_values_keep_their_text(self) -> None:
        assert one(Table(["x"], [[[1, 2]], [1j], [None]])).rows == [["[1, 2]"], ["1j"], [None]]

    def test_rows_that_do_not_fit_are_refused(self) -> None:
        assert "1 cells does not fit 2 columns" in reason(Table(["x", "y"], [[1]]))
        assert "needs data" in reason(Table(["x"]))

    def test_csv_and_markdown(self) -> None:
        table = one(Table(["a|b", "c"], [["1,2", None], ['"q"\n', 0.5]]))
        assert csv_text(table) == 'a|b,c\r\n"1,2",\r\n"""q""\n",0.5\r\n'
        assert markdown(table) == ('| a\\|b | c |\n| --- | --- |\n| 1,2 |  |\n| "q"<br> | 0.5 |')


class TestHistograms:
    def test_arrays_and_lists_agree(self) -> None:
        numbers = numpy.random.default_rng(0).normal(size=500)
        array, listed = one(Histogram(numbers)), one(Histogram(numbers.tolist()))
        assert array.counts == pytest.approx(listed.counts, abs=1)
        assert array.edges == pytest.approx(listed.edges)
        for name in ("min", "max", "num", "sum", "sum_squares"):
            assert getattr(array, name) == pytest.approx(getattr(listed, name))

    def test_what_is_not_finite_is_counted_apart(self) -> None:
        for form in (numpy.array([1, numpy.nan, numpy.inf, 2]), [1, float("nan"), float("inf"), 2]):
            histogram = one(Histogram(form, bins=2))
            assert (histogram.num, histogram.nonfinite) == (2, 2)
            assert histogram.counts == [1, 1]

    def test_equal_numbers_have_a_bin_around_them(self) -> None:
        for form in (numpy.full(4, 3.0), [3.0] * 4):
            histogram = one(Histogram(form, bins=2))
            assert histogram.edges[0] < 3 < histogram.edges[-1]
            assert sum(histogram.counts) == 4

    def test_ready_counts(self) -> None:
        histogram = one(Histogram(counts=[1, 3], edges=[0, 2, 4]))
        assert (histogram.num, histogram.sum, histogram.sum_squares) == (4, 10, 28)
        assert (histogram.min, histogram.max) == (0, 4)

    @pytest.mark.parametrize(
        "histogram",
        [
            Histogram(numpy.zeros(0)),
            Histogram([float("nan")]),
            Histogram(counts=[1], edges=[0]),
            Histogram(counts=[], edges=[0]),
            Histogram(counts=[1], edges=[1, 0]),
            Histogram(numpy.array(["a"])),
            Histogram(5),
            Histogram(["a"]),
        ],
    )
    def test_what_is_no_distribution_is_refused(self, histogram: Histogram) -> None:
        assert reason(histogram)


class TestArtifacts:
    def test_a_file_goes_to_the_folder_of_its_key(self, tmp_path: Path) -> None:
        path = tmp_path / "m.bin"
        path.write_bytes(b"1")
        file = one(Artifact(path))
        assert (file.path, file.artifact_path, file.directory) == (str(path), "v", False)
        assert one(Artifact(tmp_path, "")).artifact_path == ""
        assert one(Artifact(tmp_path)).directory

    def test_the_path_is_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "m.bin").write_bytes(b"1")
        monkeypatch.chdir(tmp_path)
        assert one(Artifact("m.bin")).path == str(tmp_path / "m.bin")
