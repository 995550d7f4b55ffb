"""Names of stimuli: the 16 kinds of the published experiments, words, notes, and classes of small networks."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toy
from torchvision.models._meta import _IMAGENET_CATEGORIES

from lib import models, plugins
from lib.metamers import canvas, labels

COUNTS = {
    "airplane": 1, "bear": 4, "bicycle": 2, "bird": 49, "boat": 5, "bottle": 7, "car": 3, "cat": 6,
    "chair": 4, "clock": 3, "dog": 109, "elephant": 2, "keyboard": 2, "knife": 1, "oven": 2, "truck": 8,
}  # fmt: skip


def scores(n_classes, *best):
    """Scores of one stimulus, whose best classes come in this order."""
    found = torch.zeros(1, n_classes)
    found[0, list(best)] = torch.arange(len(best), 0, -1).float()
    return found


def test_classes_of_imagenet_are_in_the_order_of_networks():
    table = labels.imagenet()
    assert len(table) == 1000
    assert table["wnid"].is_monotonic_increasing
    assert table["wnid"].is_unique
    # torchvision made two names of lemmas that occur twice its own.
    differing = [ours for ours, theirs in zip(table["name"], _IMAGENET_CATEGORIES, strict=True)
                 if theirs.lower() not in ours.lower()]  # fmt: skip
    assert differing == ["crane", "maillot, tank suit"]


@pytest.mark.reference
def test_groups_are_those_published():
    if not os.environ.get("COMPENDIUM_REFERENCE"):
        pytest.skip("COMPENDIUM_REFERENCE is not set: the published groups cannot be read")
    stored = json.loads(Path(os.environ["COMPENDIUM_REFERENCE"], "metamers.json").read_text())["labels"]
    group = {wnid: name for name, wnids in stored["imagenet16_synsets"].items() for wnid in wnids}
    table = labels.imagenet().set_index("wnid")
    ours = table.loc[table["group"] != "", "group"].to_dict()
    assert sorted(set(ours.values())) == stored["class_order"]
    # The Dutch oven counts by its name as another synset, which is in the list.
    assert group.pop("n03259401") == ours.pop("n03259280") == "oven"
    assert ours == {wnid: name for wnid, name in group.items() if wnid in table.index}
    assert len(ours) == 207


def test_groups_have_their_sizes():
    groups = labels.imagenet()["group"]
    assert groups[groups != ""].value_counts().sort_index().to_dict() == COUNTS


def test_the_best_class_that_is_in_a_group_counts():
    namer = labels.Labeller("logits", labels.sixteen())
    # Tench, then tiger cat, then wardrobe; African elephant before all.
    assert namer.label(scores(1000, 0, 282, 894)) == ["cat"]
    assert namer.label(scores(1000, 386, 282)) == ["elephant"]
    assert namer.label(torch.cat([scores(1000, 1, 2, 437 + 2, 294), scores(1000, 817)])) == ["bear", "car"]
    assert namer.label(scores(1000, 5) * torch.nan) == [""]
    with pytest.raises(ValueError, match="1000 classes"):
        namer.label(scores(10, 1))


def test_pitches_are_notes():
    names = labels.pitches()
    assert len(names) == 360
    hertz = 10 * 2 ** ((1997.3794084376191 + 20 * np.arange(360)) / 1200)
    assert names[np.abs(np.log(hertz / 440)).argmin()] == "A4"
    assert names[np.abs(np.log(hertz / 261.63)).argmin()] == "C4"
    assert names[np.abs(np.log(hertz / 32.70)).argmin()] == "C1"
    # Five bins of 20 cents to a semitone.
    assert pd.Series(names).value_counts().iloc[5:-5].eq(5).all()


@pytest.mark.parametrize(("hertz", "note"), [(110, "A2"), (440, "A4"), (523.25, "C5")])
def test_the_bundled_network_of_hearing_names_tones(hertz, note):
    model = models.load("crepe_tiny")
    tone = np.sin(2 * np.pi * hertz * np.arange(8000) / 16000)
    x = torch.tensor(tone, dtype=torch.float32)[None]
    assert labels.of(model).of(canvas.of(model), x) == [note]


def test_the_bundled_network_of_vision_names_a_cat():
    from skimage import data

    model = models.load("efficientnet_lite0")
    seen = canvas.of(model)
    assert labels.of(model).of(seen, seen.of_stimulus(data.cat())[None]) == ["cat"]


def test_models_without_classes_name_nothing():
    assert labels.of(models.load("spectemp")) is None


@pytest.mark.parametrize("name", plugins.names("model"))
def test_classes_of_plugins_are_listed_or_a_table(name):
    known = plugins.about("model", name)
    assert bool(known.get("SCORES")) == bool(known.get("CLASSES"))
    classes = known.get("CLASSES", ())
    assert classes in labels.TABLES if isinstance(classes, str) else len(set(classes)) == len(classes)


def test_words_are_the_released_ones_where_there_are_any(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPENDIUM_HOME", str(tmp_path))
    assert labels.words()[:2] == ("word0", "word1")
    folder = tmp_path / "data" / "download" / "metamer_recognition"
    folder.mkdir(parents=True)
    (folder / "words.csv").write_text("number,word\n1,ability\n0,__nullSignal__\n2,null\n")
    assert labels.words()[:2] == ("__nullSignal__", "ability")


def test_scores_of_a_layer_and_of_the_whole_network_are_the_same():
    network = toy.network(flat=torch.nn.Flatten(), scores=torch.nn.Linear(768, 3))
    shown = canvas.of(toy.vision(network, ("scores",)))
    x = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = labels.Labeller(labels.OUTPUT, ("a", "b", "c"))
    assert dataclasses.replace(whole, layer="scores").of(shown, x) == whole.of(shown, x)
    assert whole.of(shown, x) == ["abc"[i] for i in network(x).argmax(1)]
