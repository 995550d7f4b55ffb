import sys

import av
import numpy as np
import pytest

from lib import videos


def write(path, pictures, *, rate=30):
    """A clip of pictures: uint8 arrays (height, width, 3), or shades of grey."""
    pictures = [np.full((32, 32, 3), p, np.uint8) if np.isscalar(p) else p for p in pictures]
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        clip.mux(stream.encode())
    return path


GREY = [8 * n for n in range(1, 24)]


@pytest.mark.parametrize("every", [1, 3, 4, 23])
def test_every_so_many_frames_are_kept(tmp_path, every):
    found = videos.frames(write(tmp_path / "a.mp4", GREY), every=every)
    assert found.shape == (23 // every, 32, 32, 3)
    assert found.dtype == np.uint8
    # Shades are 8 apart; a lossy codec and a matrix of colours may move them by less than half of that.
    expected = GREY[every - 1 :: every]
    assert np.abs(found.mean(axis=(1, 2, 3)) - expected).max() < 4


def test_colours_come_as_red_green_blue(tmp_path):
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[..., 0] = 200
    red, green, blue = videos.frames(write(tmp_path / "a.mp4", [picture]))[0].mean(axis=(0, 1))
    assert red > 180 > 40 > max(green, blue)


def test_other_rates_give_other_numbers_of_frames(tmp_path):
    # Frames are counted, not seconds: a slower clip of the same length has fewer.
    assert len(videos.frames(write(tmp_path / "a.mp4", GREY[:11], rate=15), every=4)) == 2


def test_only_decoded_frames_count(tmp_path):
    grain = np.random.default_rng(0).integers(0, 256, (23, 64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "a.avi", grain)
    whole = videos.frames(path)
    with av.open(str(path)) as clip:
        assert clip.streams.video[0].frames == len(whole) == 23
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with av.open(str(path)) as clip:
        assert clip.streams.video[0].frames == 23, "the header still promises them all"
    found = videos.frames(path)
    assert 1 < len(found) < 23
    # The last of them is cut short, and half of it a guess.
    np.testing.assert_array_equal(found[:-1], whole[: len(found) - 1])


def test_a_clip_too_short_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.mp4 has 3 frames, too few to keep one of every 4"):
        videos.frames(write(tmp_path / "a.mp4", GREY[:3]), every=4)


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not a film" * 100)
    with pytest.raises(ValueError, match=r"a\.mp4 cannot be decoded after frame 0"):
        videos.frames(tmp_path / "a.mp4")
    with pytest.raises(FileNotFoundError, match=r"b\.mp4 does not exist"):
        videos.frames(tmp_path / "b.mp4")
    with pytest.raises(ValueError, match="whole number from 1 on"):
        videos.frames(tmp_path / "a.mp4", every=0)


def test_a_sound_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as clip:
        stream = clip.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        clip.mux(stream.encode(sound))
        clip.mux(stream.encode())
    with pytest.raises(ValueError, match=r"a\.wav cannot be decoded"):
        videos.frames(tmp_path / "a.wav")


def test_without_the_decoder_it_says_how_to_get_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", GREY)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"\.\[video\]"):
        videos.frames(path)
