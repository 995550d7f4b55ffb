"""Stimuli are read as they were presented, or refused by name."""

import hashlib
import warnings

import numpy as np
import pytest
import soundfile
from PIL import Image

from lib import stimuli


@pytest.mark.parametrize(
    ("suffix", "subtype", "step"), [("wav", "PCM_16", 2**-15), ("flac", "PCM_24", 2**-23)]
)
def test_sound_is_read_to_the_resolution_of_the_file(suffix, subtype, step, tmp_path):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, 500)
    soundfile.write(tmp_path / f"a.{suffix}", sound, 22050, subtype=subtype)
    waveform, rate_hz = stimuli.read(tmp_path / f"a.{suffix}")
    assert (waveform.dtype, waveform.shape, rate_hz) == (np.float64, (500,), 22050)
    np.testing.assert_allclose(waveform, sound, rtol=0, atol=step)


def test_channels_are_averaged(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, (300, 2))
    soundfile.write(tmp_path / "a.wav", sound, 16000, subtype="DOUBLE")
    np.testing.assert_array_equal(stimuli.read(tmp_path / "a.wav")[0], sound.mean(1))


def test_picture_is_rgb_whatever_its_mode(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(stimuli.read(tmp_path / "rgb.png"), rgb)
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(stimuli.read(tmp_path / "grey.png"), rgb[..., :1].repeat(3, axis=2))
    assert stimuli.read(tmp_path / "grey.png").dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    grey = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(stimuli.read(tmp_path / "deep.png")[0, :, 0], [0, 1, 128, 255])


def test_transparent_parts_are_white(tmp_path):
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, [255, 0, 51]
    Image.fromarray(rgba).save(tmp_path / "a.png")
    # 51 of 255 is a fifth: 200 / 5 + 255 · 4 / 5 and 0 + 255 · 4 / 5.
    expected = [[200, 0, 0], [255, 255, 255], [244, 204, 204]]
    np.testing.assert_array_equal(stimuli.read(tmp_path / "a.png")[0], expected)


def test_changed_file_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(10) / 2, 16000)
    sha256 = hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    assert stimuli.digest(tmp_path / "a.wav") == sha256
    stimuli.read(tmp_path / "a.wav", sha256=sha256)
    with pytest.raises(ValueError, match=r"a\.wav has changed"):
        stimuli.read(tmp_path / "a.wav", sha256="0" * 64)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none.wav", None, FileNotFoundError, "does not exist"),
        ("cut.wav", b"RIFF", ValueError, "cannot be read"),
        ("cut.png", b"\x89PNG", ValueError, "cannot be read"),
        ("text.txt", b"hello", ValueError, "neither a sound"),
    ],
)
def test_unreadable_file_is_named(name, content, error, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=f"{name} .*{message}"):
        stimuli.read(tmp_path / name)


def test_truncated_picture_is_refused(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        stimuli.read(tmp_path / "a.png")


def test_picture_that_announces_too_many_pixels_is_refused(tmp_path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[18:26] = np.array([10_000, 8_001], "<i4").tobytes()
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a\.bmp cannot be read: it announces \(10000, 8001\) pixels, more than"
    ):
        stimuli.read(tmp_path / "a.bmp")


def test_sound_that_announces_more_than_there_is_takes_no_memory_for_it(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.arange(5000) / 5000, 8000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    # The number of samples is the 36 bits before the digest, which begins at byte 26.
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(content)
    assert soundfile.info(tmp_path / "a.flac").frames > 10**10
    with pytest.raises(ValueError, match=r"a\.flac cannot be read: LibsndfileError"):
        stimuli.read(tmp_path / "a.flac")


def test_rate_of_what_is_no_sound_is_refused_by_name(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(9), 12345)
    assert stimuli.rate(tmp_path / "a.wav") == 12345
    (tmp_path / "b.wav").write_text("words")
    with pytest.raises(ValueError, match=r"sound \S+b\.wav cannot be read"):
        stimuli.rate(tmp_path / "b.wav")
    with pytest.raises(FileNotFoundError):
        stimuli.rate(tmp_path / "c.wav")


def test_empty_sound_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(ValueError, match="no samples"):
        stimuli.read(tmp_path / "a.wav")


@pytest.mark.parametrize(("rate_hz", "to_hz"), [(44100, 16000), (16000, 20000), (22050, 44100)])
def test_resampled_tone_is_the_tone_at_the_other_rate(rate_hz, to_hz):
    def tone(rate):
        time = np.arange(rate) / rate
        return np.sin(2 * np.pi * 440 * time) * np.sin(np.pi * time) ** 2

    other = stimuli.resample(tone(rate_hz), rate_hz, to_hz)
    assert other.shape == (to_hz,)
    # A Kaiser window of beta 5 has ripples of -54 dB: 2e-3 of the amplitude.
    np.testing.assert_allclose(other, tone(to_hz), rtol=0, atol=2e-3)


def test_resampling_removes_what_the_new_rate_cannot_hold():
    time = np.arange(44100) / 44100
    aliased = stimuli.resample(np.sin(2 * np.pi * 12000 * time), 44100, 16000)
    assert np.sqrt(np.mean(aliased[1000:-1000] ** 2)) < 4e-3


def test_same_rate_gives_a_copy():
    sound = np.ones(5)
    other = stimuli.resample(sound, 16000, 16000)
    other[0] = 0
    assert sound[0] == 1


@pytest.mark.parametrize(
    ("waveform", "rates", "message"),
    [
        (np.ones((2, 5)), (2, 1), r"shape \(2, 5\)"),
        (np.ones(5), (0, 1), "positive"),
        (np.ones(5), (1.5, 1), "whole"),
    ],
)
def test_resample_refuses_what_it_cannot_mean(waveform, rates, message):
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        stimuli.resample(waveform, *rates)
