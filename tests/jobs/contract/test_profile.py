import pytest
from pydantic import ValidationError

from jobs.contract.names import Stage
from jobs.contract.profile import Profile, Resources, Secret, StoreSettings


def test_a_secret_in_the_open_is_refused():
    with pytest.raises(ValidationError, match="looks like a secret"):
        Profile(env={"WANDB_API_KEY": "abc"})
    assert Profile(env={"WANDB_API_KEY": Secret(name="wandb", key="key")}).env


def test_receivers_are_named_by_their_secret_and_an_address_is_not_repeated():
    with pytest.raises(ValidationError, match="never as its value") as raised:
        Profile(notify="slack://hidden/word")
    assert Profile(notify={"name": "hooks", "key": "addresses"}).notify == Secret(name="hooks", key="addresses")
    assert "{name: SECRET, key: KEY}" in str(raised.value)


def test_training_stages_ask_for_more_unless_told():
    profile = Profile(resources={Stage.TRAIN_DETECTOR: Resources(memory="40Gi")})
    assert profile.resources_of(Stage.TRAIN_DETECTOR).memory == "40Gi"
    assert profile.resources_of(Stage.TRAIN_CLASSIFIER).memory == "16Gi"
    assert profile.resources_of(Stage.EVALUATE).memory == "8Gi"


@pytest.mark.parametrize(
    "endpoint", ["localhost:9000", "minio", "http://", "ftp://minio", "http://minio:99999", "http://a b"]
)
def test_an_endpoint_is_a_url_of_http(endpoint):
    with pytest.raises(ValidationError, match="is a URL such as https://minio"):
        StoreSettings(endpoint=endpoint)


def test_the_endpoints_and_regions_that_exist_stay_valid():
    for endpoint in (None, "", "http://minio:9000", "https://[::1]:9000/s3", "https://s3.eu-west-1.amazonaws.com"):
        assert StoreSettings(endpoint=endpoint).endpoint == endpoint
    for region in ("", "auto", "us-gov-west-1", "RegionOne"):
        assert StoreSettings(region=region).region == region
    with pytest.raises(ValidationError, match="region"):
        StoreSettings(region="us east")
