"""Files in the format of the released results of the metamer experiments, with little in them."""

import pickle

import numpy as np
import scipy.io

LAYER_SETS = ["input_after_preproc", "conv1_relu1_fake_relu", "final"]
META = [("subj_idx", "<i8"), ("hemi", "S2"), ("x_ras", "<i2"), ("y_ras", "<i2"), ("voxel_id", "<i8"),
        ("n_reps", "<f8")]  # fmt: skip
COLUMNS = "SumSq DF MeanSq F pValue pValueGG pValueHF pValueLB partial_etaSquared"
# Feather et al. (2023), released print-out of Visual Experiment 2, CLIP ResNet50.
MIXED = """
(Intercept) 186.54 1 186.54 10811 2.6978e-50 2.6978e-50 2.6978e-50 2.6978e-50 NaN
network_or_human 8.9255 1 8.9255 517.26 1.7126e-24 1.7126e-24 1.7126e-24 1.7126e-24 0.92822
Error 0.69022 40 0.017256 NaN
(Intercept):layer 7.4059 6 1.2343 172.1 5.6343e-84 5.2687e-69 2.2521e-79 4.4837e-16 0.81141
network_or_human:layer 7.7963 6 1.2994 181.17 3.7683e-86 8.8441e-71 1.9987e-81 1.9314e-16 0.81914
Error(layer) 1.7213 240 0.0071721 NaN
"""
# The same, Visual Experiment 5, ResNet50 trained on stylised images.
TWO_WAY = """
(Intercept) 116.73 1 116.73 1216.7 2.1727e-19 2.1727e-19 2.1727e-19 2.1727e-19 NaN
Error 1.9189 20 0.095944 NaN
(Intercept):layer 41.147 7 5.8782 470.27 6.5323e-94 1.3419e-56 1.5723e-72 2.2917e-15 0.95921
Error(layer) 1.7499 140 0.0125 NaN
(Intercept):model_type 0.0022954 1 0.0022954 0.35942 0.55556 0.55556 0.55556 0.55556 0.017654
Error(model_type) 0.12773 20 0.0063863 NaN
(Intercept):layer:model_type 0.011923 7 0.0017033 0.22513 0.97884 0.93023 0.95966 0.6403 0.011131
Error(layer:model_type) 1.0592 140 0.0075658 NaN
"""
# The same, Audio Experiment 2: people only, with the matrix printed before.
ONE_WAY = """
(Intercept) 39.408 1 39.408 2994.8 2.2626e-22 2.2626e-22 2.2626e-22 2.2626e-22 NaN
Error 0.25001 19 0.013159 NaN
(Intercept):stage 10.043 4 2.5107 515.29 3.2577e-54 3.007e-47 3.2577e-54 3.1495e-15 0.96444
Error(stage) 0.3703 76 0.0048724 NaN
"""
# The same, Visual Experiment 12, VOneAlexNet against LowpassAlexNet, L1: images correct of 1024, 5 seeds, 4 sizes.
ATTACKED = [
    [[402, 300, 84, 2], [419, 306, 79, 0], [451, 316, 89, 1], [413, 294, 77, 0], [431, 304, 92, 5]],
    [[411, 304, 69, 2], [410, 302, 67, 1], [447, 335, 75, 1], [422, 294, 71, 0], [433, 314, 90, 2]],
]
NAMES = ["alexnet_reduced_aliasing_early_checkpoint", "vonealexnet_gaussian_noise_std4_fixed"]


def stored(path, **changes):
    """Like the released files: characters padded with blanks, conditions 'Human  ' and 'Network'."""
    values = np.arange(12.0).reshape(2, 3, 2) / 12
    content = {
        "participant_data_matrix": values,
        "model_layers": np.array(["natural_image", "layer1", "final"]),
        "conditions": np.array(["Human  ", "Network"]),
        "participants": np.array(["0", "10"]),
        "axis_order": np.array(["participants", "model_layers", "conditions"]),
        **changes,
    }
    scipy.io.savemat(path, {name: value for name, value in content.items() if value is not None})
    return path


def table(title, body):
    """Head, underlines, a blank line, rows in columns, a blank line; cells of error terms without F are blank."""
    rows = [row.split() for row in ["term " + COLUMNS, *body.strip().splitlines()]]
    rows = [row if len(row) == 10 else [*row[:4], *[""] * 5, row[4]] for row in rows]
    head, *lines = ["".join([f"    {row[0]:30}", *(f"    {cell:>10}" for cell in row[1:])]) for row in rows]
    rule = " " * 34 + "    ".join("_" * 10 for _ in range(9))
    return "\n".join([f"{title} Full ANOVA", head.replace("term", "    "), rule, "", *lines, "", ""])


def mixed_log():
    name = "EXP12 - CLIP_ResNet50"
    return (
        "######### | Visual Networks: Large Dataset Training | #########\nNUM_PERMUTATIONS = 10000\n"
        f"Loading {name} ||| EXP12_ANALYSIS/VisionExperiment12_network_vs_humans_datamatrix_CLIP_resnet50.mat\n"
        f"Using between factors\n{table(name, MIXED)}"
        f"{name} F(observer) main effect: 517.2581\n{name} p-value main effect: 0.0001\n"
        f"{name} F(stage, observer) interaction: 181.1714\n{name} p-value interaction: 0.0002\n"
    )


def two_way_log():
    return (
        "NUM_PERMUTATIONS = 10000\nMODELS_INCLUDED_IN_ANOVA: resnet50, texture_shape_resnet50_trained_on_SIN\n\n"
        "p_value_interaction =\n\n    0.9793\n\n\n"
        f"{table('StylizedImageNet_ResNet50', TWO_WAY)}"
        "F(model) main effect: 0.35942\np_value main effect : 0.5462\n"
        "F(model, stage) interaction: 0.22513\np_value interaction : 0.9793\n"
    )


def one_way_log():
    name = "EXP6 - SpecTemp"
    return (
        f"Loading {name} ||| EXPERIMENT_6/AudioExperiment6_network_vs_humans_datamatrix_spectemp_filters.mat\n"
        "Removing Human Recognition of Classifier Metamers for SPECTEMP ANOVA\n"
        f"    0.7273    0.9091    0.8750    0.6176         0\n\n{table(name, ONE_WAY)}"
        f"{name} F(observer) main effect: 515.2883\n{name} p-value main effect: 0.0001\n"
    )


def attacked_log(counts, name="gvone_vs_lowpass_alexnet_adv_eval_l1", eps="31.622777            100      316.22777"
                 "           1000"):  # fmt: skip
    """Four decimals, a bare 0 for zero, as MATLAB prints a matrix."""
    slices = "".join(
        f"anova_comparison_data_matrix(:,:,{i}) =\n\n"
        + "".join("".join(f"{k / 1024:10.4f}" if k else f"{0:10d}" for k in row) + "\n" for row in matrix)
        + "\n\n"
        for i, matrix in enumerate(counts, start=1)
    )
    cells = "    ".join(f"{{'{n}'}}" for n in NAMES)
    return (
        f"experiment_short_name =\n\n    '{name}'\n\n\nexperiment_name =\n\n    'EXP9 - L1: VOneAlexNet'\n\n\n"
        'models =\n\n  1x2 <a href="matlab:helpPopup cell" style="font-weight:bold">cell</a> array\n\n'
        f"    {cells}\n\n\nindex_range =\n\n     4     5     6     7\n\n\n"
        f"Running EPS values [{eps}] for attack type {name}\n\nmodel_idx =\n\n     2     3\n\n\n{slices}"
        'network_between_factors_cell =\n\n  1x2 <a href="matlab:helpPopup cell">cell</a> array\n\n'
        "    {5x1 double}    {5x1 double}\n\n\n"
    )


def written(path, content):
    """Protocol 2 with the names of NumPy 1, whose scalars are objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2).replace(b"numpy._core", b"numpy.core"))
    return path


def judged(rng, classes, n=40, share=0.8):
    """One set of lists, mean and SEM of all layers; the mean is a NumPy scalar."""
    suffix = "" if classes == 794 else f"_{classes}"
    names = ("labels_all_layers", "predictions__all_layers") if classes == 794 else (
        f"labels_{classes}_way_all_layers", f"predictions_{classes}_way_all_layers")  # fmt: skip
    content = {f"correct_incorrect{suffix}": {}, f"average_correct{suffix}": {}, f"bootstrap_sem{suffix}": {},
               names[0]: {}, names[1]: {}}  # fmt: skip
    for layer in LAYER_SETS:
        correct = (rng.random(n) < share).tolist()
        labels = [f"word{i}" for i in range(n)]
        mean = np.mean(correct)
        resampled = np.mean(rng.choice(correct, (1000, n)), axis=1)
        columns = (correct, mean, np.std(resampled), labels,
                   [a if c else "other" for a, c in zip(labels, correct, strict=True)])  # fmt: skip
        for values, column in zip(content.values(), columns, strict=True):
            values[layer] = column
    return content


def path_of(folder, network="kell2018", generator="cochresnet50"):
    return folder / network / "network_network_evaluations" / f"accuracy_on_metamers_from_{generator}.pckl"


def regression(layer="layer1", seed=0, order=slice(None)):
    """6 voxels of 2 people, 3 splits of 5 sounds, as stored."""
    rng = np.random.default_rng(seed)
    train = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 1], [1, 0, 0, 1, 1]], dtype=float).T
    meta = np.array(
        [(v // 3, b"rh" if v % 2 else b"lh", 40 - v, -60 + v, 1000 + 7 * v, 3) for v in range(6)], dtype=META
    )
    masks = np.array([[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    return {
        "r2s": rng.random((6, 3))[order], "alphas": 10.0 ** rng.integers(-5, 39, (6, 3))[order],
        "layer_name": np.bytes_(layer), "random_seed": 3882, "feature_file": "natsound_activations.h5",
        "all_train_idxs": train, "all_test_idxs": 1 - train,
        "roi_masks": {"masks": masks[order].astype(float), "mask_names": ["tonotopic", "pitch", "music", "speech"]},
        "voxel_meta": meta[order],
    }  # fmt: skip


def regression_path(folder, network="cochresnet50", layer="layer1"):
    name = f"voxelwise_regression_b'{layer}'_randseed3882_zero_center_fmri_activations.pckl"
    return folder / network / "regression_results" / "natsound_activations" / name
