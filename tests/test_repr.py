"""How do estimators show in a notebook?"""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork

X = load_digits(return_X_y=True)[0][:50]
ESTIMATORS = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]


@pytest.fixture(scope="module", params=ESTIMATORS)
def estimator(request):
    return request.param(3, network=DenseNetwork((8,)), max_iter=1).fit(X)


def test_fitted_estimators_show_the_networks_summary(estimator):
    shown = estimator._repr_html_()
    assert shown.count("<details><summary>Network</summary>") == 1
    for name in ("encoder_dense_0", "linear_code", "decoder_dense_0", "linear_output"):
        assert name in shown
    sizes = [sum(np.size(w) for w in m.weights) for m in _models(estimator)]
    found = [
        int(n.replace(",", "")) for n in re.findall(r"Total params: ([\d,]+)", shown)
    ]
    assert found == sizes
    assert "<summary>Network" in estimator._repr_mimebundle_()["text/html"]


def _models(estimator):
    return estimator.encoder_, estimator.decoder_


def test_the_summary_changes_nothing(estimator):
    before = estimator.transform(X)
    estimator._repr_html_()
    np.testing.assert_array_equal(estimator.transform(X), before)


def test_unfitted_estimators_and_text_have_no_summary(estimator):
    assert "<details><summary>Network" not in clone(estimator)._repr_html_()
    assert "<details" not in estimator._repr_mimebundle_()["text/plain"]
    with config_context(display="text"):
        assert set(estimator._repr_mimebundle_()) == {"text/plain"}
        assert not hasattr(estimator, "_repr_html_")


def test_the_link_leads_to_the_estimators_page(estimator):
    path = Path(__file__).parents[1] / "pyproject.toml"
    site = tomllib.loads(path.read_text())["project"]["urls"]["Documentation"]
    link = f"{site}/generated/skae.{type(estimator).__name__}.html"
    assert link in estimator._repr_html_()
    assert link in make_pipeline(estimator)._repr_html_()
