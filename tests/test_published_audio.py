"""Published values of the auditory study are those of its figures, and stand beside the models they belong to."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib import models, published, published_audio

TARGETS = {"NH2015": "nh2015", "B2021": "b2021", "NH2015comp": "nh2015comp"}


def one(measure, **where):
    """The published value of one model, target and part."""
    table = published_audio.values(measure)
    for column, value in where.items():
        table = table[table[column] == value]
    (value,) = table["published"]
    return value


def test_values_are_those_of_the_figures():
    # Digitised from figures 2, 5 and 7; bars are whole pixels, 0.004.
    assert one("regression", target="nh2015", model="cochresnet50_multitask") == pytest.approx(
        0.729, abs=0.004
    )
    assert one("regression", target="b2021", model="vggish.permuted") == pytest.approx(0.141, abs=0.004)
    assert one("rsa", target="nh2015", model="spectemp") == pytest.approx(0.411, abs=0.004)
    assert one("regression", target="nh2015comp", part="music", model="ast") == pytest.approx(0.77, abs=0.005)
    where = {"target": "b2021", "part": "Lateral", "model": "vggish"}
    assert one("regression_position", **where) == pytest.approx(0.7207, abs=0.002)


def test_the_filter_bank_is_as_printed():
    for part, printed in published.SPECTEMP_COMPONENTS.items():
        value = one("regression", target="nh2015comp", part=part, model="spectemp")
        assert value == pytest.approx(printed, abs=0.005)  # two digits


@pytest.mark.parametrize("measure", published_audio.MEASURES)
def test_values_are_of_models_that_there_are_and_unique(measure):
    table = published_audio.values(measure)
    stems = {name.removesuffix(".permuted") for name in table["model"]}
    assert stems <= set(models.names())
    assert not table.duplicated(["target", "part", "model"]).any()
    assert table["published"].between(0, 1).all()
    assert (table["tolerance"] < 0.011).all()
    assert set(table["control"]) <= {"", "permuted"}


def test_released_and_runnable_twins_have_one_value():
    table = published_audio.values("rsa").groupby(["identifier", "control", "target", "part"])["published"]
    assert (table.max() == table.min()).all()


def test_beside_matches_target_part_and_model_and_nothing_else():
    rows = [("nh2015", "all", "vggish"), ("planted_audio", "all", "vggish"), ("nh2015", "all", "vggish.random"),
            ("nh2015", "Lateral", "vggish"), ("nh2015", "all", "crepe_tiny")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["target", "part", "model"]).assign(value=range(5))
    found = published_audio.beside(table, "regression")
    assert found["value"].tolist() == list(range(5))
    assert found["published"][0] == one("regression", target="nh2015", part="all", model="vggish")
    assert found["published"][1:].isna().all()


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="rsa_position"):
        published_audio.values("rsa_positions")


@pytest.mark.reference
def test_every_value_is_in_the_collection_of_published_numbers():
    folder = os.environ.get("COMPENDIUM_REFERENCE")
    if not folder:
        pytest.skip("COMPENDIUM_REFERENCE is not set")
    records = json.loads((Path(folder) / "auditory_published.json").read_text())["records"]
    known = {}
    for record in records:
        measure = "rsa" if "RSA" in (record.get("panel") or "") else "regression"
        measure += "_position" if record["figure"] == "7" else ""
        part = record.get("component") or record.get("roi") or "all"
        control = "permuted" if record.get("variant") == "permuted" else ""
        name = record.get("model") or ("spectemp" if "SpectroTemporal" in record.get("quantity", "") else "")
        name = {"SpectroTemporal": "spectemp"}.get(name, name)
        key = TARGETS[record["dataset"]], measure, part, name, control
        known.setdefault(key, []).append(record.get("snapped_to_grid", record["value"]))
    for measure in published_audio.MEASURES:
        for row in published_audio.values(measure).itertuples():
            values = known[row.target, measure, row.part, row.identifier, row.control]
            assert np.abs(np.array(values) - row.published).min() < 1e-4  # four digits are kept
