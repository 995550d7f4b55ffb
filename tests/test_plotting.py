"""Figures show exactly the values of their tables; files are complete, and the same bytes again."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib import artefacts, plotting, plugins

MODELS = ["crepe_tiny", "crepe_tiny.permuted", "crepe_tiny.random", "spectemp"]
LABELS = ["CREPE (tiny)", "CREPE (tiny), permuted", "CREPE (tiny), random", "SpectroTemporal"]


@pytest.fixture
def figure():
    """A figure without a window."""
    made = Figure(figsize=(6, 3))
    FigureCanvasAgg(made)
    return made


def scores(models=MODELS):
    """A score per model; one interval does not hold its value, one is not known."""
    table = pd.DataFrame({"model": models, "value": [0.7, 0.3, 0.1, 0.55], "low": [0.6, 0.31, 0.0, np.nan]})
    return table.assign(high=[0.75, 0.4, 0.2, np.nan])


def found(regions=("P2", "P1")):
    """Layers found in two regions, not in the order of the hierarchy."""
    deep = {"roi": regions[0], "true_layer": "pool", "layer": ["conv", "pool"], "share": [0.25, 0.75]}
    early = {"roi": regions[1], "true_layer": "conv", "layer": ["conv"], "share": [1.0]}
    return pd.concat([pd.DataFrame(deep), pd.DataFrame(early)], ignore_index=True)


def recoveries(n_levels=3):
    """Recovered values at some levels of explainable variance and two planted values each."""
    levels = np.repeat(np.arange(1, n_levels + 1) / (n_levels + 1), 2)
    planted = np.tile([0.6, 0.9], n_levels)
    value = planted + np.linspace(-0.1, 0.1, len(planted))
    return pd.DataFrame(
        {"explainable": levels, "planted": planted, "value": value, "low": value - 0.02, "high": value + 0.07}
    )


def bars(ax):
    """Width, middle and colour of each bar, in the order they were drawn."""
    boxes = [(p.get_width(), p.get_y() + p.get_height() / 2, p.get_facecolor()[:3]) for p in ax.patches]
    return tuple(np.array(column) for column in zip(*boxes, strict=True))


def ends(ax):
    """Start and end of each error bar that is drawn."""
    segments = [s for c in ax.collections for s in c.get_segments() if len(s) == 2]  # NaN are left out
    return np.reshape(segments, (-1, 2, 2))


def assert_bars_show(ax, table):
    """The bars, their places and their error bars are the table's."""
    width, place, _ = bars(ax)
    np.testing.assert_allclose(width, table["value"], rtol=1e-12)
    np.testing.assert_allclose(place, np.arange(len(table)), atol=1e-12)
    known = table["low"].notna().to_numpy()
    drawn = ends(ax)
    assert len(drawn) == known.sum()
    np.testing.assert_allclose(drawn[:, :, 0], table[["low", "high"]][known], atol=1e-12)
    np.testing.assert_allclose(drawn[:, :, 1], np.flatnonzero(known)[:, None].repeat(2, 1), atol=1e-12)


def test_models_have_their_label_and_colour_and_controls_say_what_they_are():
    assert [plotting.label(model) for model in MODELS] == LABELS
    declared = plugins.about("model", "crepe_tiny")["COLOUR"]
    full, permuted, random = (np.array(plotting.colour(model)) for model in MODELS[:3])
    np.testing.assert_array_equal(full, colors.to_rgb(declared))
    # towards white, and the further from the trained network the paler
    np.testing.assert_allclose((1 - permuted) / (1 - full), 0.55, rtol=1e-12)
    np.testing.assert_allclose((1 - random) / (1 - full), 0.3, rtol=1e-12)
    with pytest.raises(ValueError, match="did you mean crepe_tiny"):
        plotting.label("crepe_tinny")


def test_score_bars_are_the_table(figure):
    table, ax = scores(), figure.subplots()
    assert plotting.score_bars(table, ax, xlabel="r²") is ax
    assert_bars_show(ax, table)
    np.testing.assert_allclose(bars(ax)[2], [plotting.colour(model) for model in MODELS])
    assert [text.get_text() for text in ax.get_yticklabels()] == LABELS
    assert ax.get_xlabel() == "r²"
    assert ax.get_xlim() == (0, 1)
    bottom, top = ax.get_ylim()
    assert top < 0 < 3 < bottom  # the first model is on top


@pytest.mark.parametrize("column", ["value", "high"])
def test_score_bars_beyond_one_are_inside_the_axes(figure, column):
    table = scores()
    table.loc[0, column] = 1.3
    assert plotting.score_bars(table, figure.subplots(), xlabel="r²").get_xlim() == (0, 1.3)


def test_score_bars_without_any_interval_are_drawn(figure):
    table = scores().assign(low=np.nan, high=np.nan)
    assert_bars_show(plotting.score_bars(table, figure.subplots(), xlabel="r²"), table)


def test_assignment_is_the_table_in_the_order_of_the_hierarchy(figure):
    layers, ax = ["conv", "mid", "pool"], figure.subplots()
    plotting.assignment(found(), ax, layers=layers)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["P1", "P2"]
    assert [text.get_text() for text in ax.get_xticklabels()] == layers
    shares = np.array(ax.collections[0].get_array()).reshape(2, 3)
    np.testing.assert_array_equal(shares, [[1, 0, 0], [0.25, 0, 0.75]])
    assert ax.collections[0].get_clim() == (0, 1)
    assert [text.get_text() for text in ax.texts] == ["1.00", "", "", ".25", "", ".75"]
    frames = [p.get_xy() for p in ax.patches if isinstance(p, Rectangle)]
    assert sorted(frames) == [(0, 0), (2, 1)]  # column of the planted layer, row of the region


@pytest.mark.parametrize("n_levels", [3, 7])
def test_recovered_is_the_table(figure, n_levels):
    table, ax = recoveries(n_levels), figure.subplots()
    plotting.recovered(table, ax, hue="explainable", title="explainable variance")
    points = [line for line in ax.lines if line.get_linestyle() == "None" and line.get_label()[0] != "_"]
    drawn = np.concatenate([line.get_xydata() for line in points])
    np.testing.assert_allclose(drawn, table[["planted", "value"]], rtol=1e-12)
    assert [line.get_label() for line in points] == [str(level) for level in table["explainable"].unique()]
    assert len({line.get_color() for line in points}) == n_levels
    segments = ends(ax)
    np.testing.assert_allclose(segments[:, 0, 0], table["planted"], rtol=1e-12)
    np.testing.assert_allclose(segments[:, :, 1], table[["low", "high"]], atol=1e-12)
    legend = ax.get_legend()
    assert legend.get_title().get_text() == "explainable variance"
    assert len(legend.get_texts()) == n_levels
    (diagonal,) = [line for line in ax.lines if hasattr(line, "get_slope")]
    assert (diagonal.get_xy1(), diagonal.get_slope()) == ((1, 1), 1)


def test_component_panels_are_the_table(figure):
    parts = {"lowfreq": 0.71, "music": 0.34}
    table = pd.concat(
        [
            scores().assign(part=part, baseline=line, published=np.nan, value=scores()["value"] * line)
            for part, line in parts.items()
        ]
    )
    plotting.component_panels(table, figure)
    assert [ax.get_title() for ax in figure.axes] == list(parts)
    for ax, (part, line) in zip(figure.axes, parts.items(), strict=True):
        assert_bars_show(ax, table[table["part"] == part])
        (drawn,) = [a for a in ax.lines if a.get_linestyle() == "--"]
        assert drawn.get_xdata() == [line, line]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SpectroTemporal as published"]


def test_published_values_of_components_are_diamonds_beside_their_bars(figure):
    known = np.array([0.4, np.nan, *[0.2] * (len(scores()) - 2)])
    plotting.component_panels(scores().assign(part="music", baseline=0.34, published=known), figure)
    (dots,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    np.testing.assert_array_equal(dots.get_xdata(), known)
    np.testing.assert_array_equal(dots.get_ydata(), range(len(known)))
    assert "the model as published" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_component_panels_without_results_say_so(figure):
    plotting.component_panels(scores().assign(part="x", baseline=0.5, published=0.5).iloc[:0], figure)
    assert not figure.axes
    assert [text.get_text() for text in figure.texts] == ["no results"]


def planted():
    """Panels of two targets with different values."""
    panels = []
    for target, regions in (("seen", ("P2", "P1")), ("heard", ("B", "A"))):
        assigned = found(regions).assign(layers="conv,mid,pool", model="net", panel="layers")
        values = recoveries().assign(panel="corrected r2", planted=recoveries()["planted"] / len(target))
        models = scores().assign(panel="models", part="all", value=scores()["value"] / len(target))
        panels += [part.assign(target=target) for part in (assigned, values, models)]
    return pd.concat(panels, ignore_index=True)


def test_planted_panels_are_the_table(figure):
    table = planted()
    plotting.planted_panels(table, figure)
    for row, target in zip(np.reshape(figure.axes, (2, 3)), ("seen", "heard"), strict=True):
        here = {panel: rows for panel, rows in table[table["target"] == target].groupby("panel")}
        assert row[0].get_title() == f"{target} (planted), net"
        shares = np.array(row[0].collections[0].get_array()).reshape(2, 3)
        np.testing.assert_array_equal(shares, [[1, 0, 0], [0.25, 0, 0.75]])
        assert {t.get_text() for t in row[0].get_yticklabels()} == set(here["layers"]["roi"])
        points = np.concatenate(
            [line.get_xydata() for line in row[1].lines if line.get_linestyle() == "None"]
        )
        values = here["corrected r2"][["planted", "value"]]
        assert {tuple(p) for p in np.round(values, 9).to_numpy()} <= {tuple(p) for p in np.round(points, 9)}
        assert_bars_show(row[2], here["models"])


def drawn():
    """A finished figure with its table."""
    made = Figure(figsize=(6, 3))
    FigureCanvasAgg(made)
    plotting.score_bars(scores(), made.subplots(), xlabel="r²")
    return made, scores()


def test_a_figure_becomes_three_files_with_the_same_bytes_each_time(tmp_path, monkeypatch):
    for name, clock in {"one": "0", "two": "86400"}.items():
        monkeypatch.setenv("SOURCE_DATE_EPOCH", clock)  # what Matplotlib takes for the time
        plotting.save_figure(*drawn(), tmp_path / name / "fig.ure")
    files = {f.name: f.read_bytes() for f in (tmp_path / "one").iterdir()}
    assert {name: content[:4] for name, content in files.items()} == {
        "fig.ure.pdf": b"%PDF", "fig.ure.png": b"\x89PNG", "fig.ure.csv": b"mode",
    }  # fmt: skip
    assert {f.name: f.read_bytes() for f in (tmp_path / "two").iterdir()} == files
    pd.testing.assert_frame_equal(artefacts.load_table(tmp_path / "one" / "fig.ure.csv"), scores())


def test_a_figure_is_saved_in_the_house_style_wherever_it_was_drawn(tmp_path):
    plotting.save_figure(*drawn(), tmp_path / "f")
    # Type 3 fonts cannot be edited; 42 embeds TrueType.
    assert b"/Type3" not in (tmp_path / "f.pdf").read_bytes()
    width = int.from_bytes((tmp_path / "f.png").read_bytes()[16:20], "big")
    assert width > 5 * plotting.STYLE["savefig.dpi"]


@pytest.mark.parametrize("fails", ["pdf", "png", "csv"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, fails):
    figure, table = drawn()
    savefig = figure.savefig

    def full(path, **settings):
        if path.suffix == f".{fails}":
            path.write_bytes(b"half")
            raise OSError("no space left on device")
        savefig(path, **settings)

    def refuse(*_args, **_kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    if fails == "csv":
        monkeypatch.setattr(table, "to_csv", refuse, raising=False)
    for name in ("f.pdf", "f.png", "f.csv"):
        (tmp_path / name).write_text("old")
    with pytest.raises(OSError, match="no space"):
        plotting.save_figure(figure, table, tmp_path / "f")
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == dict.fromkeys(
        ("f.pdf", "f.png", "f.csv"), "old"
    )
    with pytest.raises(OSError, match="no space"):
        plotting.save_figure(figure, table, tmp_path / "new" / "f")
    assert not list((tmp_path / "new").iterdir())


def numbers():
    """Two numbers, not in order, with a column too many."""
    return pd.DataFrame(
        {
            "name": ["encode/t/m/r2/b", "encode/t/m/r2/a"], "value": [0.5, 0.25], "low": [0.4, np.nan],
            "high": [0.6, np.nan], "n": [4, 1], "unit": ["subject"] * 2, "what": ["mean", "no interval"],
            "extra": [1, 2],
        }
    )  # fmt: skip


def test_numbers_are_sorted_by_name_in_the_agreed_columns(tmp_path):
    before = numbers()
    table = before.copy()
    plotting.save_numbers(table, tmp_path / "numbers.csv")
    stored = artefacts.load_table(tmp_path / "numbers.csv")
    assert stored.columns.tolist() == ["name", "value", "low", "high", "n", "unit", "what"]
    expected = before.iloc[[1, 0]][plotting.NUMBERS].reset_index(drop=True)
    pd.testing.assert_frame_equal(stored, expected)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(name="encode/t/m/r2/a"), r"unique and lower case, not so: \['encode/t/m/r2/a'\]"),
        (lambda t: t.assign(name=["encode/T/m/r2", "b"]), r"not so: \['encode/T/m/r2'\]"),
        (lambda t: t.drop(columns=["low", "what"]), r"lacks the columns \['low', 'what'\]"),
    ],
)
def test_numbers_that_cannot_be_quoted_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        plotting.save_numbers(change(numbers()), tmp_path / "numbers.csv")
    assert not list(tmp_path.iterdir())
