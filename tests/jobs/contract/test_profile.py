import pytest
from pydantic import ValidationError

from jobs.contract.names import Stage
from jobs.contract.profile import Profile, Resources, Secret


def test_a_secret_in_the_open_is_refused():
    with pytest.raises(ValidationError, match="looks like a secret"):
        Profile(env={"WANDB_API_KEY": "abc"})
    assert Profile(env={"WANDB_API_KEY": Secret(name="wandb", key="key")}).env


def test_training_stages_ask_for_more_unless_told():
    profile = Profile(resources={Stage.TRAIN_DETECTOR: Resources(memory="40Gi")})
    assert profile.resources_of(Stage.TRAIN_DETECTOR).memory == "40Gi"
    assert profile.resources_of(Stage.TRAIN_CLASSIFIER).memory == "16Gi"
    assert profile.resources_of(Stage.EVALUATE).memory == "8Gi"
