"""Numbers of an RSA: one name each, in lower case, with what they are."""

import numpy as np
import pandas as pd

from lib import plotting, rdm_fitting, rsa_numbers

ABOUT = {"measure": "spearman", "n_subjects": 4, "n_stimuli": 92}


def layers():
    """Rows of a summary, of the best layer, and of a weighted sum."""
    base = {"target": "Toy", "model": "net.permuted", "measure": "spearman", "roi": "IT/V4"}
    base |= {"value": 0.2, "low": 0.1, "high": 0.3, "lower": 0.4, "upper": 0.6}
    one = base | {"layer": "conv1", "unit": "subject and stimulus"} | ABOUT
    alone = one | {"layer": "conv2", "unit": "stimulus", "lower": np.nan, "upper": np.nan, "n_subjects": 1}
    best = base | {"unit": "subject", "n": 4, "interval": "t"}
    fitted = best | {"layer": rdm_fitting.FITTED, "low": np.nan}
    return pd.DataFrame([one, alone, best, fitted])


def test_layers_are_named_and_the_best_has_no_layer():
    silent = layers().iloc[[0]].assign(layer="dead", value=np.nan, low=np.nan, high=np.nan)
    rows = rsa_numbers.quotable(pd.concat([layers(), silent], ignore_index=True))
    stem = "rsa/toy/net.permuted/spearman/it_v4"
    assert rows["name"].tolist() == [f"{stem}/conv1", f"{stem}/conv2", stem, f"{stem}/fitted"]
    assert rows["n"].tolist() == [4, 92, 4, 4]
    assert "noise ceiling 0.400 to 0.600" in rows["what"][0]
    assert "no noise ceiling: one subject" in rows["what"][1]
    assert "chosen and read on different stimuli; 95 % t interval" in rows["what"][2]
    assert "fitted to other subjects and stimuli; no interval" in rows["what"][3]
    without = rsa_numbers.quotable(layers().iloc[[2]].drop(columns=["layer", "n_subjects", "n_stimuli"]))
    assert without["name"].tolist() == [stem]


def test_ceilings_regions_and_differences_are_named(tmp_path):
    shared = {"target": "objects92", "value": 0.5, "low": 0.4, "high": 0.6} | ABOUT
    pair = shared | {"a": "human_it", "b": "monkey_it", "measure": "pearson", "n": 92, "unit": "stimulus"}
    regions = rsa_numbers.of_regions(pd.DataFrame([pair]))
    assert regions["name"].tolist() == ["rsa/objects92/monkey_it/pearson/human_it"]
    bound = shared | {"roi": "human_it", "bound": "lower", "unit": "subject and stimulus", "reranked": 0.49}
    ceilings = rsa_numbers.of_ceilings(
        pd.DataFrame([bound, bound | {"unit": "stimulus", "reranked": np.nan}])
    )
    assert ceilings["name"][0] == "rsa/objects92/human_it/spearman/lower_ceiling/subject_and_stimulus"
    assert ceilings["n"].tolist() == [4, 92]
    assert "ranked again 0.4900" in ceilings["what"][0]
    two = shared | {
        "a": "net",
        "b": "net.permuted",
        "roi": "IT",
        "unit": "stimulus",
        "p": 0.01,
        "p_fwe": 0.03,
    }
    differences = rsa_numbers.of_differences(pd.DataFrame([two]))
    assert differences["name"].tolist() == ["rsa/objects92/net/difference/it/net.permuted"]
    assert "p = 0.01, Holm-corrected 0.03" in differences["what"][0]
    rows = pd.concat([regions, ceilings, differences, rsa_numbers.quotable(layers())])
    plotting.save_numbers(rows, tmp_path / "numbers.csv")


def test_no_differences_make_no_rows():
    columns = ["target", "a", "b", "roi", "measure", "value", "low", "high", "n", "unit", "p", "p_fwe"]
    assert rsa_numbers.of_differences(pd.DataFrame(columns=columns)).empty
