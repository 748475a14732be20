import pytest
import yaml

from tps_pipeline import recipe
from tps_pipeline.errors import RecipeError


@pytest.fixture
def content() -> dict:
    return yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())


@pytest.mark.parametrize("name", sorted(p.stem for p in recipe.RECIPES.glob("*.yaml")))
def test_every_shipped_recipe_loads(name):
    assert recipe.load(name).submission in recipe.load(name).scored


def test_the_report_s_scores_are_those_of_its_recipe_s_entries():
    paper = recipe.load("paper")
    assert set(recipe.reported()) <= set(paper.scored)
    assert recipe.reported()["voting"] == 0.6824
    assert sum("reported:" in p.read_text() for p in recipe.RECIPES.glob("*.yaml")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["video_action"].update(frame=3), "video_action.frame: unknown key; did you mean 'frames'"),
        (lambda c: c["person_detector"]["network"].update(widht=2), "did you mean 'width'"),
        (lambda c: c["methods"]["video_category"].update(kid="x"), "did you mean 'kind'"),
        (lambda c: c.update(submission="x"), "submission names 'x'"),
        (
            lambda c: c["methods"].update(voting={"kind": "video_category"}),
            "methods.voting: this is the name of an ens",
        ),
        (lambda c: c.update(ensemble={"voting": {"methods": ["voting"]}}), "ensemble.voting.methods names 'voting'"),
        (lambda c: c.update(ensemble={"by_category": {"candidates": ["by_category"]}}), "candidates names 'by_cat"),
        (lambda c: c.update(ensemble={"choose_on": "train"}), "add it to predict_splits"),
        (
            lambda c: c.update(ensemble={"choose_on": "train"}, predict_splits=["train"], frames={"train_stride": 10}),
            "frames.train_stride leaves out",
        ),
        (lambda c: c["shards"].update(val_fraction=3), "shards.val_fraction"),
        (lambda c: c.pop("video_action"), "video_action: Field required"),
    ],
)
def test_mistakes_are_named_with_their_place(content, change, message, tmp_path):
    change(content)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError) as error:
        recipe.load(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_an_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(RecipeError, match="demo"):
        recipe.load("dmeo")
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(RecipeError, match="not YAML"):
        recipe.load(tmp_path / "x.yaml")


def test_a_digest_covers_its_sections_and_nothing_else():
    demo = recipe.load("demo")
    faster = demo.model_copy(update={"seed": 1, "two_stage": demo.two_stage.model_copy(update={"crop_margin": 0.3})})
    assert demo.digest_of(["person_detector"]) == faster.digest_of(["person_detector"])
    assert demo.digest_of(["two_stage.person_iou"]) == faster.digest_of(["two_stage.person_iou"])
    assert demo.digest_of(["two_stage.crop_margin"]) != faster.digest_of(["two_stage.crop_margin"])
    assert demo.digest_of(["seed"]) != faster.digest_of(["seed"])
