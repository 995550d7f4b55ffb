"""Do corrections, tests and weights come back to the truth? Simulated brains in which it is known."""

import pandas as pd

from lib import layer_contributions, noise_simulation, rdm_calibration

LABEL = "Simulated statistics"
MODALITY = "both"
KIND = "results"
PLANTED = True
HOMEPAGE = ""
LICENCE = "MIT"
CITATION = "made by this compendium"
COUNTS = {"noise_correction.rule": 4, "false_positives.test": 7}
EXPLAINABLE = (0.1, 0.2, 0.4, 0.6, 0.8)
PLANTED_SHARES = (0.3, 0.6)  # of the explainable variance, for the correction
WEIGHTS = {"all from layer 2": (0, 1, 0), "0.5, 0.3 and 0.2": (0.5, 0.3, 0.2)}
CASES = {"": {}, "unequal": {"unequal": True}, "new": {"common": 1.0, "new_stimuli": True}}
N_SIMULATIONS = {"": 600, "unequal": 600, "new": 120}  # 600: coverage known to 0.9 %
N_SPLITS = 4  # of the stimuli
N_UNRELATED = 400  # RDMs that have nothing to do with each other


def load(_folder):
    """Tables of what was found beside what was planted.

    Parameters
    ----------
    _folder : pathlib.Path
        Of the download step; not used.

    Returns
    -------
    dict of str to pandas.DataFrame
        `noise_correction` (`lib.noise_simulation.summary`), `false_positives`
        (`lib.rdm_calibration.false_positives`), `layer_weights` and `layer_methods`
        (`lib.layer_contributions.recovered`, with the case).
    """
    designs = [
        (noise_simulation.Design(planted=share, n_splits=N_SPLITS, **case), N_SIMULATIONS[name])
        for name, case in CASES.items()
        for share in PLANTED_SHARES
    ]
    found = [
        noise_simulation.experiments(design, explainable=EXPLAINABLE, n_simulations=n, seed=seed)
        for seed, (design, n) in enumerate(designs)
    ]
    recovered = {case: layer_contributions.recovered(shares) for case, shares in WEIGHTS.items()}
    weights, methods = (
        pd.concat([tables[i].assign(case=case) for case, tables in recovered.items()], ignore_index=True)
        for i in (0, 1)
    )
    return {
        "noise_correction": noise_simulation.summary(pd.concat(found)),
        "false_positives": rdm_calibration.false_positives(n_simulations=N_UNRELATED),
        "layer_weights": weights,
        "layer_methods": methods,
    }
