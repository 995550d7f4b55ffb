"""Networks as judges of others' metamers: from the files as saved, against the gate, and as published."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import toy
import xarray as xr
from PIL import Image
from torch import nn

from lib import models
from lib.inference import QUOTED
from lib.metamers import canvas, gate, judges, labels, nulls

NAMES = labels.Labeller("scores", ("cat", "dog", "car", "jay"))
LAYERS = ("first", "scores")
STIMULI = [f"p{i}" for i in range(5)]


def network(seed=0, size=16):
    return toy.network(
        first=nn.Conv2d(3, 4, 3), bend=nn.ReLU(), flat=nn.Flatten(), scores=nn.Linear(4 * (size - 2) ** 2, 4),
        seed=seed,
    )  # fmt: skip


def named(name, module, **changes):
    return dataclasses.replace(toy.vision(module, LAYERS), name=name, **changes)


@pytest.fixture
def folder(tmp_path):
    """Metamers of two layers in files, the last of each kept back."""
    shown, x = canvas.of(named("maker", network())), pictures(len(STIMULI))
    made = {"first": (x + 0.02 * pictures(5, 1)).clamp(0, 1), "scores": x.flip(0)}
    rows = []
    for i, stimulus in enumerate(STIMULI):
        shown.write(x[i], tmp_path / "original" / f"{stimulus}.png")
        for layer in LAYERS:
            shown.write(made[layer][i], tmp_path / "metamer" / layer / f"{stimulus}.png")
            rows.append(
                {"layer": layer, "stimulus": stimulus, "passed": i < 4, "label_agrees": True, "why": ""}
            )
    table = pd.DataFrame(rows).reindex(columns=gate.COLUMNS).sort_values("layer", kind="stable")
    table["original_file"] = "original/" + table["stimulus"] + ".png"
    table["file"] = "metamer/" + table["layer"] + "/" + table["stimulus"] + ".png"
    table.to_csv(tmp_path / "gate.csv", index=False)
    return tmp_path


def pictures(n, seed=0, size=16):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_a_judge_sees_the_saved_pictures(folder):
    judge = named("judge", network(seed=3))
    table = judges.judge(judge, folder, labeller=NAMES, batch_size=3)
    assert table.columns.tolist() == judges.COLUMNS
    assert table["stimulus"].tolist() == STIMULI * 2
    rounded = (pictures(5) * 255).round() / 255
    own = NAMES.of(canvas.of(judge), rounded)
    assert table["label_original"].tolist() == own * 2
    # At the last layer the pictures come in reverse.
    assert table["label_metamer"].tolist()[5:] == own[::-1]
    assert (table["agrees"] == (table["label_original"] == table["label_metamer"])).all()
    assert (table["judge"] == "judge").all()
    assert table["passed"].tolist() == [True, True, True, True, False] * 2
    assert (table["correct"] == "").all()


def test_truth_is_another_question_than_agreement(folder):
    judge = named("judge", network(seed=3))
    plain = judges.judge(judge, folder, labeller=NAMES)
    truth = dict(zip(STIMULI[:3], plain["label_original"][:3], strict=True)) | {"p2": "submarine"}
    table = judges.judge(judge, folder, labeller=NAMES, truth=truth)
    wanted = [
        named == truth.get(s, "") for s, named in zip(table["stimulus"], table["label_metamer"], strict=True)
    ]
    known = table["stimulus"].isin(truth)
    assert table.loc[known, "correct"].tolist() == [w for w, k in zip(wanted, known, strict=True) if k]
    assert (table.loc[~known, "correct"] == "").all()
    assert table["agrees"].equals(plain["agrees"])
    found = judges.recognition(table, value="correct")
    assert found["n"].tolist() == [3, 3]
    table.to_csv(folder / "judged.csv", index=False)
    stored = judges.read(folder)
    assert stored.astype(object).equals(table.astype(object))
    assert judges.recognition(stored, value="correct").equals(found)


class Half(nn.Module):
    """Pictures of 8 × 8 pixels."""

    def forward(self, x):
        assert x.shape[2:] == (8, 8)
        return x


def test_another_size_sees_the_whole_picture_not_its_middle(folder):
    network = toy.network(first=Half(), flat=nn.Flatten(), scores=nn.Linear(192, 4))
    module = named("small", network)
    small = dataclasses.replace(module, preprocess=centre)
    seen = canvas.of(small)
    picture = Image.open(folder / "original" / "p0.png")
    whole = np.asarray(picture.resize((8, 8), Image.Resampling.BICUBIC)).astype(np.float32) / 255
    found = judges._seen(seen, folder / "original" / "p0.png")
    np.testing.assert_allclose(found, whole.transpose(2, 0, 1), atol=1e-7)
    assert len(judges.judge(small, folder, labeller=NAMES)) == 10


def centre(stimulus):
    """The middle of a picture, 8 × 8 pixels."""
    height, width = (size // 2 for size in stimulus.shape[:2])
    return toy.pixels(np.ascontiguousarray(stimulus[height - 4 : height + 4, width - 4 : width + 4]))


def level(stimulus):
    """100 samples at 16 kHz, as loud as 0.1."""
    waveform = torch.from_numpy(stimulus[0][:100]).float()
    if waveform.std() == 0:
        raise ValueError("the sound is silent")
    return 0.1 * waveform / waveform.std()


@pytest.fixture
def heard(tmp_path):
    """Sounds in files: a faint metamer, and a silent one that failed."""
    model = dataclasses.replace(toy.audio(), settings={"rate_hz": 16000}, preprocess=level, name="ear")
    shown = canvas.of(model)
    wave = torch.randn(100, generator=torch.Generator().manual_seed(0))
    for file, x in (("original/a", wave), ("metamer/l/a", 0.01 * wave), ("metamer/l/b", 0 * wave)):
        shown.write(x, tmp_path / f"{file}.wav")
    table = pd.DataFrame({"layer": "l", "stimulus": ["a", "b"], "passed": [True, False]})
    table = table.reindex(columns=gate.COLUMNS).assign(original_file="original/a.wav")
    table["file"] = "metamer/l/" + table["stimulus"] + ".wav"
    table.to_csv(tmp_path / "gate.csv", index=False)
    return tmp_path, model, wave


def test_sounds_of_the_judges_form_are_taken_as_they_are(heard):
    folder, model, wave = heard
    shown = canvas.of(model)
    assert torch.equal(judges._seen(shown, folder / "metamer/l/a.wav"), 0.01 * wave)
    other = dataclasses.replace(shown, rate_hz=20000)
    assert torch.allclose(judges._seen(other, folder / "metamer/l/a.wav").std(), torch.tensor(0.1))


class Loud(labels.Labeller):
    """Names how loud a sound is."""

    def of(self, _canvas, x):
        return ["loud" if one.std() > 0.5 else "faint" for one in x]


def test_what_a_judge_refuses_has_no_name_if_it_failed_and_is_an_error_if_it_passed(heard):
    folder, model, _ = heard
    table = judges.judge(model, folder, labeller=Loud("", ()))
    assert table["label_metamer"].tolist() == ["faint", ""]
    assert table["label_original"].tolist() == ["loud", "loud"]
    assert not table["agrees"].any()
    stored = (folder / "gate.csv").read_text()
    (folder / "gate.csv").write_text(stored.replace("False", "True"))
    with pytest.raises(ValueError, match="silent"):
        judges.judge(model, folder, labeller=Loud("", ()))


def test_nothing_is_judged_without_its_gate_or_by_who_names_nothing(folder):
    (folder / "gate.csv").rename(folder / "gone.csv")
    with pytest.raises(FileNotFoundError, match=r"no gate.csv"):
        judges.judge(named("judge", network()), folder, labeller=NAMES)
    with pytest.raises(ValueError, match="names nothing"):
        judges.judge(models.load("spectemp"), folder)


def test_a_gate_is_read_as_it_was_written(folder):
    shown, x = canvas.of(named("maker", network())), pictures(5)
    null = nulls.summary(nulls.distribution(shown, x, LAYERS, paired=nulls.pairs(5)))
    made = xr.Dataset(
        {"metamer": (("layer", "stimulus", "c", "r", "k"), 0.9 * x[None].numpy()),
         "original": (("stimulus", "c", "r", "k"), x.numpy())},
        coords={"layer": ["first"], "stimulus": ["1", "2", "NA", "null", "e"]},
    )  # fmt: skip
    for labeller in (NAMES, None):
        table, _ = gate.examined(shown, made, null, labeller=labeller)
        table.to_csv(folder / "gate.csv", index=False)
        found = judges.read_gate(folder)
        wanted = table.astype({"label_agrees": str})
        pd.testing.assert_frame_equal(found.astype({"label_agrees": str}), wanted, check_dtype=False)
        assert found["passed"].dtype == bool


def judged(**shares):
    """Judgements of 20 metamers of a layer: so many agree."""
    parts = [
        pd.DataFrame({
            "judge": judge, "layer": "l", "agrees": np.arange(20) < n, "correct": "", "passed": np.arange(20) % 5 > 0,
        })
        for judge, n in shares.items()
    ]  # fmt: skip
    return pd.concat(parts)


def test_recognition_counts_what_passed():
    found = judges.recognition(judged(a=20, b=10)).set_index("judge")
    assert found["n"].tolist() == [16, 16]
    assert found["value"].tolist() == [1, 0.5]
    # Of 1,000 resamples: within four standard errors of a standard deviation.
    expected = np.sqrt(0.25 / 16)
    assert abs(found.loc["b", "sem"] - expected) < 4 * expected / np.sqrt(2000)
    assert found.loc["a", "sem"] == 0
    assert found.loc["a", "low"] < 1 == found.loc["a", "high"]
    again = judges.recognition(judged(a=20, b=10))
    pd.testing.assert_frame_equal(again, judges.recognition(judged(a=20, b=10)))
    assert not len(judges.recognition(judged(a=20), value="correct"))
    by = judges.recognition(pd.concat([judged(a=20).assign(generator=g) for g in "xy"]))
    assert by["generator"].tolist() == ["x", "y"]
    quoted = judges.quotable(by.assign(target="T"))
    names = [f"metamers/t/{generator}/recognised/{end}" for end in ("a/l", "all") for generator in "xy"]
    assert quoted["name"].tolist() == names
    # Over all layers and judges but the generator: here the one judge's own.
    assert quoted["value"].tolist()[2:] == quoted["value"].tolist()[:2]
    own = judges.quotable(by.assign(target="T", judge=by["generator"]))
    assert not own["name"].str.endswith("/all").any()
    assert quoted.columns.tolist() == QUOTED
