"""Correlations of people's and networks' recognition as printed with the figures of the metamer study.

Feather, Leclerc, Mądry & McDermott (2023), Nat Neurosci 26:2017, doi:10.1038/s41593-023-01442-0; printed by the
notebooks of github.com/jenellefeather/model_metamers_pytorch.
"""

import pandas as pd

# Group, measure of `lib.recognition.agreement`, value as printed, networks. Figure 8E and F: recognition of layers'
# metamers by people and by other networks (rounded to three digits); figure 7B: by people, and Brain-Score (two).
_PRINTED = {
    "networks": [("vision", 29, {"r2": 0.897, "rho": 0.938, "tau": 0.783}),
                 ("audio", 17, {"r2": 0.949, "rho": 0.863, "tau": 0.713})],
    "brainscore": [("V1", 26, {"rho": 0.10, "r2": 0.00}), ("V2", 26, {"rho": 0.13, "r2": 0.03}),
                   ("V4", 26, {"rho": 0.40, "r2": 0.07}), ("IT", 26, {"rho": 0.45, "r2": 0.11})],
}  # fmt: skip


def correlations(about):
    """Printed correlations.

    Parameters
    ----------
    about : {"networks", "brainscore"}
        People and other networks (figure 8E, F), or people and Brain-Score (figure 7B).

    Returns
    -------
    pandas.DataFrame
        group (modality, or region), measure ("r2", "rho", "tau"), published, n_published (networks). They are of more
        networks than are among the files fetched by default, so that those found here need not agree.

    Raises
    ------
    KeyError
        If there is no such figure.
    """
    rows = [
        {"group": group, "measure": measure, "published": value, "n_published": n}
        for group, n, measures in _PRINTED[about]
        for measure, value in measures.items()
    ]
    return pd.DataFrame(rows)
