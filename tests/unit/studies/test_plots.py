"""What a notebook shows: plots on Axes that carry the study's own figures, and HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets import evaluation, interventions
from mmkn_widgets.core import BadArgument, html_changes
from mmkn_widgets.datasets import ObjectInstance, Scene, SceneDataset
from mmkn_widgets.studies import blank_study, plot_compared


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def val():
    return mmkn.datasets.pocket_world("val", 160)


@pytest.fixture(scope="module")
def test_scenes():
    return mmkn.datasets.pocket_world("test", 120)


@pytest.fixture(scope="module")
def study(model, val):
    return mmkn.study(model, "car", val.with_concept("car", 4))


@pytest.fixture(scope="module")
def doses(study, test_scenes):
    shown, absent = test_scenes.with_concept("car", 4), test_scenes.without_concept("car", 4)
    return study.doses(shown, absent, counts=(30, 1, 1000), n_random=2)


@pytest.fixture(scope="module")
def effect(study, test_scenes):
    shown, absent = test_scenes.with_concept("car", 4), test_scenes.without_concept("car", 4)
    return study.evaluate(study.neurons(), shown, absent, n_random=2)


def points(axes, label: str) -> np.ndarray:
    (found,) = [one for one in axes.collections if str(one.get_label()).startswith(label)]
    return np.asarray(found.get_offsets())


def test_layers_are_counted(study) -> None:
    axes = study.plot.layers()
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    neurons = study.neurons()
    assert {k: n for k, n in heights.items() if n} == neurons.layer_histogram()
    (even,) = axes.lines
    assert even.get_ydata() == pytest.approx([len(neurons) / 6] * 6)


def test_thresholds_mark_what_they_keep(study) -> None:
    cuts = {"threshold_d": 2.0, "threshold_g": 1e-3}
    axes = study.plot.thresholds(**cuts)
    kept = study.neurons(**cuts)
    marked = points(axes, "kept")
    assert len(marked) == len(kept) > 0
    assert (marked.min(0) > [2.0, 1e-3]).all()
    assert len(marked) + len(points(axes, "others")) == study.evidence["difference"].size
    assert axes.lines[0].get_xdata()[0] == 2.0
    assert "nats" in axes.get_ylabel()
    assert study.plot().get_title() == axes.get_title()  # study.plot() draws the plane


def test_the_heatmap_is_the_mean_map(study) -> None:
    axes = study.plot.heatmap(1)
    neurons = study.neurons()
    wanted = study.maps(neurons.rows(study.model), neurons.index, scene=1, signed=True).mean(0)
    assert np.asarray(axes.images[1].get_array()) == pytest.approx(wanted)
    assert axes.images[1].get_extent() == [0, 96, 96, 0]
    raw = study.plot.heatmap(1, signed=False)
    assert not np.allclose(raw.images[1].get_array(), wanted)
    with pytest.raises(BadArgument, match="neurons.*at least one"):
        study.plot.heatmap(1, study.neurons(threshold_d=1e9))


def test_a_pair_is_the_two_pictures_and_their_captions(study) -> None:
    axes = study.plot.pair(0)
    original, gone = study.pictures(0)
    assert (np.asarray(axes.images[0].get_array()) == np.asarray(original)).all()
    assert (np.asarray(axes.images[2].get_array()) == np.asarray(gone)).all()
    said = [text.get_text().replace("\n", " ") for text in axes.texts]
    assert study.caption(0) in said
    assert study.model.caption(gone) in said
    with study.model.ablate(study.neurons()):  # what is off plays no part
        again = [text.get_text() for text in study.plot.pair(0).texts]
    assert again == [text.get_text() for text in axes.texts]


def test_doses_are_those_of_evaluate(study, doses, effect, test_scenes) -> None:
    assert doses["count"].values.tolist() == [1, 30]  # in order, and no more than there are
    last = study.doses(
        test_scenes.with_concept("car", 4),
        test_scenes.without_concept("car", 4),
        counts=[len(study.neurons())],
        n_random=2,
    )
    assert last["suppression"].values.tolist() == [effect.suppression]
    assert last["retention"].values.tolist() == [effect.retention["headline"]]
    assert last["substitution"].values.tolist() == [effect.substitution]
    assert last["random"].values.mean() == effect.random_control["mean"]
    with pytest.raises(BadArgument, match="counts.*numbers up to"):
        study.doses([], counts=[500])


def test_the_dose_plot_draws_them(study, doses) -> None:
    axes = study.plot.dose(measured=doses)
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["suppression"].get_ydata() == pytest.approx(doses["suppression"].values)
    assert lines["suppression, 2 × random"].get_ydata() == pytest.approx(
        doses["random"].mean("draw")
    )
    assert lines["retention"].get_xdata() == pytest.approx(doses["count"].values)
    with pytest.raises(BadArgument, match="with_concept"):
        study.plot.dose()


def test_an_effect_is_drawn_with_its_control(effect) -> None:
    axes = effect.plot()
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[:2] == ["suppression", "random neurons (2 draws)"]
    told = [text.get_text() for text in axes.texts]
    assert told[0] == f"{effect.suppression:.3f}"
    assert told[1] == f"{effect.random_control['mean']:.3f}"


def test_two_concepts_are_compared(study, model, val) -> None:
    bus = mmkn.study(model, "bus", val.with_concept("bus", 2))
    axes = mmkn.compare(study, bus).plot()
    a, b = study.neurons(), bus.neurons()
    assert len(points(axes, "both")) == len(a & b)
    assert len(points(axes, "car alone")) == len(a - b)
    chance = sum(n * b.layer_histogram().get(k, 0) / 512 for k, n in a.layer_histogram().items())
    assert f"{chance:.1f}" in axes.get_title()
    small = bus.evidence.isel(neuron=slice(0, 8))
    with pytest.raises(BadArgument, match="b: got 'scores"):
        plot_compared(study, bus.__class__(
            model, bus.concept, bus.scenes, small, pairs=bus.pairs, options=bus.options
        ), a, a)  # fmt: skip


def test_axes_are_taken_and_given_back(study, doses, effect) -> None:
    draws = (
        study.plot.layers, study.plot.thresholds, study.plot.heatmap, study.plot.pair,
        lambda **k: study.plot.dose(measured=doses, **k), effect.plot,
        lambda **k: plot_compared(study, study, **k),
    )  # fmt: skip
    for draw in draws:
        _, ax = plt.subplots()
        assert draw(ax=ax) is ax
        assert draw(figsize=(3, 2)).figure.get_size_inches().tolist() == [3, 2]
        with pytest.raises(BadArgument, match="figsize"):
            draw(ax=ax, figsize=(3, 2))
        with pytest.raises(BadArgument, match="ax: got 'str'"):
            draw(ax="left")


def test_every_plot_has_units_on_its_axes(study, doses, effect) -> None:
    for axes in (study.plot.layers(), study.plot.thresholds(), study.plot.dose(measured=doses)):
        assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title()
    assert "share" in effect.plot().get_xlabel()
    assert study.plot.heatmap().figure.axes[1].get_ylabel() == "mean activation × sign"


def test_a_scene_that_is_not_there(study) -> None:
    for draw in (study.plot.heatmap, study.plot.pair):
        for wrong in (9, -9, True, "1"):
            with pytest.raises(BadArgument, match="scene.*0 to 3"):
                draw(wrong)
    assert study.plot.heatmap(-1).get_title() == study.plot.heatmap(3).get_title()
    added = study.with_scene(Scene("mine", study.scenes[0].image))
    with pytest.raises(BadArgument, match="scene: got 4, expected a scene with a mask"):
        added.plot.pair(4)


# -- HTML ------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page shows: text, pictures; whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.images, self.open = "", [], []
        self.feed(html)
        assert self.open == []
        # readable where every style is stripped, and on every ground
        assert "color:" not in html
        assert "<style" not in html

    def handle_starttag(self, tag, attrs) -> None:
        assert tag in {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "img", "br"}
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def page(thing) -> Page:
    return Page(thing._repr_html_())


def test_a_model_and_what_is_changed_in_it(model, study) -> None:
    assert "6 layers × 512" in page(model).text
    assert "nothing active" in page(model.interventions).text
    silent = model.ablate(study.neurons(), name="<b>all</b>")
    assert "not active" in page(silent).text
    with silent:
        assert "<b>all</b>" in page(model.interventions).text
        assert "active on the model" in page(silent).text


def test_a_scene_shows_its_picture_and_masks(val) -> None:
    scene = val.with_concept("car", 1)[0]
    shown = page(scene)
    assert [image["alt"] for image in shown.images][1:] == [
        f"mask of {name}" for name in scene.masked
    ]
    assert f"car, {scene.mask('car').mean():.1%}" in shown.text
    bare = Scene(1, Image.new("RGB", (8, 8)), ["<i>x</i>"], [ObjectInstance("cup", None, (0,) * 4)])
    assert "cup" in page(bare).text
    assert "<i>x</i>" in page(bare).text


def test_a_data_set_shows_its_first_scenes(val) -> None:
    shown = page(val)
    assert len(shown.images) == 12
    assert "the first 12 of 160" in shown.text

    def gone():
        raise OSError("the disk went")

    assert "(unreadable)" in page(SceneDataset([Scene(0, gone, categories=[])], "mine", [])).text


def test_a_study_and_its_neurons(study, model) -> None:
    shown = page(study)
    assert len(shown.images) == 6
    assert f"{len(study.neurons())} neurons" in shown.text
    neurons = study.neurons(words=True)
    text = page(neurons).text
    assert f"L{neurons[0].layer}·{neurons[0].index}" in text
    assert neurons.words[0][0] in text
    assert f"and {len(neurons) - 10} more" in text
    assert "NeuronSet of 0" in page(neurons.top(0)).text
    page(mmkn.NeuronSet([1], [2], expert=[3]))
    assert "default set" not in page(blank_study(model, "car", study.scenes[0])).text


def test_an_effect_and_an_edit(effect, study, model, test_scenes) -> None:
    text = page(effect).text
    assert f"{effect.suppression:.3f}" in text
    assert "random neurons, same layers" in text
    nothing = evaluation.Effect(
        None, {"scene": None, "other": None}, None, None, {}, {"with": 1, "without": 0, "named": 0}
    )
    assert "–" in page(nothing).text
    edit = interventions.edit(model, study.neurons(), "car", "bus", activation=study.evidence)
    report = evaluation.edit_report(edit, "car", "bus", test_scenes.with_concept("car", 3))
    shown = page(report).text
    assert re.search(rf"success{report.success:.3f}", shown)
    assert report.changed[0][0] in shown
    page(edit)


def test_the_words_that_changed_are_bold_and_nothing_else() -> None:
    shown = html_changes(("before", "after"), [("a red <car>, far", "a red bus, far away")])
    assert re.findall("<strong>(.*?)</strong>", shown) == ["car", "bus", "away"]
    assert "a red &lt;<strong>car</strong>&gt;, far" in shown
    assert Page(shown).text == "beforeaftera red <car>, fara red bus, far away"


def test_a_card_of_a_change_says_which_word_went(effect) -> None:
    bold = re.findall("<strong>(.*?)</strong>", effect._repr_html_())
    assert bold[0] == "Effect"
    assert "car" in bold[1:]


def test_numbers_stand_at_the_right_and_with_equal_digits(study) -> None:
    shown = study.neurons()._repr_html_()
    scores = re.findall(r'text-align:right">(0\.\d+)<', shown)
    assert len(scores) == 10
    assert len({len(score) for score in scores}) == 1
    assert float(scores[0]) == pytest.approx(study.neurons()[0].score, abs=1e-5)
    assert 'text-align:right">score' in shown


def test_a_set_without_scores_shows_none() -> None:
    text = page(mmkn.NeuronSet([1, 1], [2, 3])).text
    assert "L1·3" in text
    assert "score" not in text
    for scores, said in (
        ([0.0, -2.5], "-2.500"),
        ([4e-9, 0.0], "4e-09"),
        ([123456.0, 2], "123456"),
    ):
        assert said in page(mmkn.NeuronSet([1, 1], [2, 3], score=scores)).text


def test_what_is_active_says_how(model, study) -> None:
    few = study.neurons().top(2)
    with model.ablate(few, name="loud", mode="scale", scale=2.0), model.ablate(few, name="off"):
        text = page(model.interventions).text
    assert "1.ablationloud2" in text
    assert "scale 2" in text
    assert "zero" in text


def test_a_study_says_how_many_scenes_are_scored_where_not_all_are(study) -> None:
    assert "scenes4inpainter" in page(study).text
    added = study.with_scene(Scene("mine", study.scenes[0].image))
    assert "scenes5, 4 of them scored" in page(added).text


def test_pictures_stand_on_no_stripes(val) -> None:
    shown = val._repr_html_()
    assert shown.count('<tr style="background:none">') == 2
