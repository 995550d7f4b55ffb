"""What lets a metamer pass, what keeps it back, and what its network makes of it layer by layer."""

import copy
import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import torch
import toy
import xarray as xr
from torch import nn

from lib.metamers import canvas, gate, labels, nulls

LAYERS = ("first", "second", "scores")


def network(seed=0):
    """Three layers; the middle one halves the resolution, the last one names four classes."""
    return toy.network(
        first=nn.Conv2d(3, 6, 3),
        rect=nn.ReLU(),
        second=nn.Conv2d(6, 5, 3, stride=2),
        flat=nn.Flatten(),
        scores=nn.Linear(180, 4),
        seed=seed,
    )


@pytest.fixture(scope="module")
def shown():
    return canvas.of(toy.vision(network(), LAYERS))


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def null(shown, pictures):
    return nulls.summary(nulls.distribution(shown, pictures, LAYERS, paired=nulls.pairs(len(pictures))))


NAMES = labels.Labeller("scores", ("cat", "dog", "", "car"))


def dataset(originals, **by_layer):
    """Metamers by layer, in the layout of the step."""
    return xr.Dataset(
        {
            "metamer": (("layer", "stimulus", "channel", "row", "column"), np.stack(list(by_layer.values()))),
            "original": (("stimulus", "channel", "row", "column"), np.asarray(originals)),
        },
        coords={"layer": list(by_layer), "stimulus": [f"p{i}" for i in range(len(originals))]},
    )


def perturbed(x, size, seed=1):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return (x + size * noise).clamp(0, 1)


def course(made, first=1.0, last=0.01):
    """Losses of all metamers at two steps."""
    rows = [
        {"layer": layer, "stimulus": stimulus, "step": step, "loss": loss}
        for layer in made["layer"].values
        for stimulus in made["stimulus"].values
        for step, loss in ((0, first), (10, last))
    ]
    return pd.DataFrame(rows)


def test_near_copies_pass_and_other_pictures_do_not(shown, pictures, null):
    near, other = perturbed(pictures[:4], 0.01), pictures[4:8]
    made = dataset(pictures[:4], first=near, second=other, scores=near)
    table, _ = gate.examined(shown, made, null, labeller=NAMES, losses=course(made))
    assert table.columns.tolist() == gate.COLUMNS
    assert table["layer"].tolist() == [layer for layer in LAYERS for _ in range(4)]
    passed = table.groupby("layer")["passed"].sum()
    assert passed["first"] == 4
    assert passed["second"] == 0
    failed = table[table["layer"] == "second"]
    assert failed["why"].str.contains("snr_db .* is below .* of random pairs").all()
    assert (table["passed"] == (table["why"] == "")).all()
    assert table["file"].iloc[0] == "metamer/first/p0.png"
    assert table["original_file"].iloc[-1] == "original/p3.png"


@pytest.mark.parametrize("measure", gate.MEASURES)
def test_a_metamer_passes_at_the_maximum_of_the_null_and_not_above_it(shown, pictures, null, measure):
    made = dataset(pictures[:1], first=perturbed(pictures[:1], 0.01))
    value = gate.examined(shown, made, null)[0][measure].item()
    for threshold, passes in ((value, True), (np.nextafter(value, np.inf), False)):
        here = (null["layer"] == "first") & (null["measure"] == measure)
        changed = null.assign(maximum=null["maximum"].mask(here, threshold))
        assert gate.examined(shown, made, changed)[0]["passed"].item() is passes


def test_reasons_show_digits_that_differ(shown, pictures, null):
    made = dataset(pictures[:1], first=perturbed(pictures[:1], 1e-3))
    close = null.assign(maximum=null["maximum"].mask(null["measure"] == "pearson", 1.0))
    why = gate.examined(shown, made, close)[0]["why"].item()
    low, high = re.fullmatch(r"pearson (\S+) is below (\S+) of random pairs", why).groups()
    assert 0.999 < float(low) < float(high) == 1


def test_another_name_keeps_a_metamer_back(shown, pictures, null):
    near = perturbed(pictures, 1e-3)
    made = dataset(pictures, first=near)
    names = NAMES.of(shown, pictures)
    flipped = labels.Labeller("scores", tuple("ab"[name == names[0]] for name in NAMES.classes))
    agreeing = gate.examined(shown, made, null, labeller=flipped)[0]
    assert agreeing["label_agrees"].all()

    class Fickle(labels.Labeller):
        def of(self, _canvas, x):
            return ["cat" if torch.equal(one, pictures[i]) else "dog" for i, one in enumerate(x)]

    table = gate.examined(shown, made, null, labeller=Fickle("scores", ("cat", "dog")))[0]
    assert not table["label_agrees"].any()
    assert (table["why"] == "named dog, not cat").all()
    unnamed = gate.examined(shown, made, null)[0]
    assert (unnamed["label_agrees"] == "").all()
    assert unnamed["passed"].all()


@pytest.mark.parametrize("classes", [("", "", "", ""), ("cat", "dog", "", "car")])
def test_a_network_that_gives_no_name_does_not_agree(shown, pictures, null, classes):
    labeller = labels.Labeller("scores", classes)
    if any(classes):
        broken = copy.deepcopy(shown.module)
        broken.scores.bias.fill_(torch.nan)
        shown = dataclasses.replace(shown, module=broken)
    made = dataset(pictures[:2], first=perturbed(pictures[:2], 1e-3))
    table = gate.examined(shown, made, null, labeller=labeller)[0]
    assert not table["label_agrees"].astype(bool).any()
    assert (table["why"] == "named nothing, not anything").all()
    assert not table["passed"].any()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda x: torch.full_like(x, 0.5), "it has no contrast"),
        (lambda x: 0.5 + 0.001 * x, "it has no contrast"),
        (lambda x: (x * 255).round() / 255, "the natural stimulus itself"),
        (lambda x: x * np.nan, "not finite"),
        (lambda x: x + 2, "leaves the range from 0 to 1"),
        (lambda x: x, "the natural stimulus itself"),
    ],
)
def test_a_spoilt_metamer_fails_and_says_why(shown, pictures, null, spoil, reason):
    made = dataset(pictures[:2], first=spoil(pictures[:2]))
    table = gate.examined(shown, made, null)[0]
    assert not table["passed"].any()
    assert table["why"].str.contains(reason).all()


def test_a_picture_of_one_colour_has_no_metamer(shown, pictures, null):
    made = dataset(torch.full((1, 3, 16, 16), 0.25), first=pictures[:1])
    assert "the natural stimulus has no contrast" in gate.examined(shown, made, null)[0]["why"].item()


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [(1.0, np.nan, "the loss is nan"), (1.0, np.inf, "the loss is inf"), (1.0, 1.0, "the loss did not fall")],
)
def test_a_loss_that_is_not_finite_or_did_not_fall_fails(shown, pictures, null, first, last, reason):
    made = dataset(pictures[:2], first=perturbed(pictures[:2], 1e-3))
    table = gate.examined(shown, made, null, losses=course(made, first, last))[0]
    assert not table["passed"].any()
    assert table["why"].str.contains(reason).all()


def test_what_went_wrong_in_synthesis_keeps_a_metamer_back(shown, pictures, null):
    made = dataset(pictures[:2], first=perturbed(pictures[:2], 1e-3))
    why = np.array([["", "the gradient is not finite at step 3"]], dtype=object)
    table = gate.examined(shown, made.assign(why=(("layer", "stimulus"), why)), null)[0]
    assert table["passed"].tolist() == [True, False]
    assert table["why"].tolist() == ["", "the gradient is not finite at step 3"]


def test_losses_of_all_metamers_are_wanted(shown, pictures, null):
    made = dataset(pictures[:2], first=perturbed(pictures[:2], 1e-3))
    with pytest.raises(ValueError, match=r"losses lack .*p1"):
        gate.examined(shown, made, null, losses=course(made).query("stimulus != 'p1'"))


def test_layers_without_a_null_are_refused(shown, pictures, null):
    made = dataset(pictures[:2], first=perturbed(pictures[:2], 1e-3))
    with pytest.raises(ValueError, match=r"\['first'\] have no null"):
        gate.examined(shown, made, null[null["layer"] != "first"])


class Deaf(nn.Module):
    """Says the same whatever it is shown."""

    def forward(self, x):
        return torch.linspace(-1, 1, 20).expand(len(x), 20) + 0 * x.mean()


def test_a_model_that_ignores_its_input_has_no_metamers(pictures):
    model = canvas.of(toy.vision(toy.network(first=Deaf()), ("first",)))
    drawn = nulls.distribution(model, pictures, ["first"], paired=nulls.pairs(len(pictures)))
    null = nulls.summary(drawn)
    assert (null["n_infinite"] == 66).all()
    made = dataset(pictures[:3], first=pictures[3:6])
    table, _ = gate.examined(model, made, null, losses=course(made, 0.0, 0.0))
    # To the network everything is a perfect match.
    assert np.isposinf(table["snr_db"]).all()
    assert not table["passed"].any()
    assert table["why"].str.contains("does not tell 66 of 66 random pairs of stimuli apart").all()


def test_silent_sounds_fail():
    model = canvas.of(dataclasses.replace(toy.audio(), settings={"rate_hz": 16000}))
    waves = torch.randn(6, 800, generator=torch.Generator().manual_seed(0)) * 0.1
    null = nulls.summary(nulls.distribution(model, waves, ["filtered"], paired=nulls.pairs(6)))
    made = xr.Dataset(
        {
            "metamer": (("layer", "stimulus", "sample"), np.zeros((1, 2, 800), np.float32)),
            "original": (("stimulus", "sample"), waves[:2].numpy()),
        },
        coords={"layer": ["filtered"], "stimulus": ["a", "b"]},
    )
    table = gate.examined(model, made, null)[0]
    assert table["why"].str.startswith("it is silent").all()
    assert table["file"].tolist() == ["metamer/filtered/a.wav", "metamer/filtered/b.wav"]


def test_pictures_are_judged_as_their_files_hold_them(shown, pictures, null):
    inside = 0.2 + 0.6 * pictures[:2]
    # Less than half a step of 8 bits: gone in the file, there in memory.
    near = inside + 0.001
    made = dataset(inside, first=near)
    saved, exact = (
        gate.examined(shown, made, null, published=rule)[0]["snr_db"] for rule in (None, "feather2023")
    )
    rounded = gate.as_saved(near, "vision")
    assert ((rounded * 255) - (rounded * 255).round()).abs().max() < 1e-4
    assert not np.allclose(saved, 2 * exact)
    found = gate.examined(shown, dataset(inside, first=rounded), null, published="feather2023")[0]["snr_db"]
    np.testing.assert_allclose(saved, 2 * found, rtol=1e-6)


def test_batches_change_nothing(shown, pictures, null):
    made = dataset(pictures, first=perturbed(pictures, 0.02), scores=pictures.flip(0))
    whole = gate.examined(shown, made, null, labeller=NAMES, batch_size=12)
    parts = gate.examined(shown, made, null, labeller=NAMES, batch_size=5)
    for a, b in zip(whole, parts, strict=True):
        pd.testing.assert_frame_equal(a, b, rtol=1e-4)


def test_what_agrees_at_a_layer_agrees_later_and_need_not_earlier(pictures):
    layers = ("first", "second", "scores")
    parts = {
        "first": nn.Identity(),
        "second": nn.AvgPool2d(2),
        "flat": nn.Flatten(),
        "scores": nn.Linear(192, 4),
    }
    pooled = canvas.of(toy.vision(toy.network(**parts), layers))
    null = nulls.summary(nulls.distribution(pooled, pictures, layers, paired=nulls.pairs(len(pictures))))
    # Mirrored about the mean of its block of 2 x 2, a pixel is another one; the mean is the same.
    x = 0.25 + 0.5 * pictures[:4]
    means = nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)
    made = dataset(x, first=perturbed(x, 0.001), second=2 * means - x)
    _, table = gate.examined(pooled, made, null, published="feather2023")
    found = gate.stages(table, null).set_index(["tapped", "measured"])
    assert found.loc[("second", "second"), "verdict"] == "agrees"
    assert found.loc[("second", "scores"), "verdict"] == "agrees"
    assert found.loc[("second", "first"), "verdict"] == "differs"
    assert found.loc[("second", "first"), "expected"] == "free"
    assert found.loc[("second", "scores"), "relation"] == "later"
    assert found.loc[("first", "first"), "relation"] == "matched"
    assert (found.loc["first"]["verdict"] == "agrees").all()
    assert (found["n"] == 4).all()
    assert ((found["low"] <= found["share"]) & (found["share"] <= found["high"])).all()


def test_shares_have_wilsons_interval():
    found = gate.rate([True] * 8 + [False] * 2)
    # Wilson (1927), z = 1.96: (p + z²/2n ± z √(p q / n + z²/4n²)) / (1 + z²/n).
    z, n, p = 1.959963984540054, 10, 0.8
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(
        [found["low"], found["high"]], np.array([middle - half, middle + half]) / (1 + z**2 / n)
    )
    assert found["n"] == 10
    assert np.isnan(gate.rate([])["value"])


def test_pass_rates_are_quoted_by_layer(shown, pictures, null):
    made = dataset(pictures[:4], first=perturbed(pictures[:4], 0.001), second=pictures[4:8])
    table = gate.examined(shown, made, null)[0]
    rates = gate.pass_rates({"toy": table}).set_index("layer")
    assert rates["value"].tolist() == [1.0, 0.0]
    assert rates["labels"].isna().all()
    quoted = gate.quotable(table, model="Toy", target="t")
    assert quoted["name"].tolist() == [
        f"metamers/t/toy/pass_rate/{end}" for end in ("first", "second", "all")
    ]
    # Half of eight metamers, of four stimuli: Wilson's interval of 2 in 4.
    assert quoted.iloc[2][["value", "n"]].tolist() == [0.5, 4]
    assert tuple(quoted.iloc[2][["low", "high"]]) == tuple(
        gate.rate([True] * 2 + [False] * 2)[k] for k in ("low", "high")
    )
    assert (quoted["unit"] == "stimulus").all()
    reread = table.assign(label_agrees=["True", "False", "True", "True"] + [""] * 4)
    assert gate.pass_rates({"toy": reread})["labels"].tolist()[0] == 0.75
