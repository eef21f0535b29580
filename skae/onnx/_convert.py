"""Converters of the estimators for skl2onnx."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._autoencoder import AutoencoderTransformer
from skae._denoising import DenoisingAutoencoder
from skae._estimator.base import BaseAutoencoder
from skae._variational import VAETransformer
from skae.outliers import ReconstructionOutlierDetector

#: The methods that can be converted, with the kind of their input and output.
METHODS = {
    "transform": ("rows", "codes"),
    "reconstruct": ("rows", "rows"),
    "inverse_transform": ("codes", "rows"),
}

#: The oldest opset of ONNX that has all operations of the converters.
OLDEST_OPSET = 17

#: The detector's name in skl2onnx.
DETECTOR = "SkaeReconstructionOutlierDetector"


def register_converters() -> None:
    """Let skl2onnx convert the estimators of skae, alone or in a Pipeline.

    The ONNX model computes `transform` in any program that runs ONNX, such as
    onnxruntime, without skae, Keras or TensorFlow. skl2onnx's options choose another
    method: ``options={id(estimator): {"method": "reconstruct"}}``, or
    "inverse_transform".

    A :class:`~skae.outliers.ReconstructionOutlierDetector` around one of the estimators
    has the outputs that skl2onnx gives an IsolationForest, each of shape (n_samples, 1):
    "label", 1 for inliers and -1 for outliers, and "scores", its `decision_function`.
    ``options={id(detector): {"score_samples": True}}`` adds "score_samples".

    Raises
    ------
    ImportError
        If skl2onnx is not installed; the extra ``skae[onnx]`` installs it.

    Notes
    -----
    The results agree with `transform` to 1e-5 of the codes' scale. They are computed in
    float32 if the declared input is a ``FloatTensorType``, and in float64 if it is a
    ``DoubleTensorType``, except for layers that onnxruntime has in float32 only: the
    exact gelu, convolutions and recurrent layers among them. NaN means the same as in
    `transform`: a missing value, or the end of a series.

    skl2onnx's functions raise a ValueError that names the layer if a network has one that
    can't be converted: a custom layer, a Lambda, attention. A detector needs an
    estimator of skae, and ``score_by="robust"`` or the squared error.

    A sample that a detector refuses to score, such as one with a missing value that its
    model does not impute, has the score NaN and the label -1.

    Examples
    --------
    >>> from skl2onnx import to_onnx
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae import AutoencoderTransformer
    >>> from skae.onnx import register_converters
    >>> X = load_digits().data[:200].astype("float32")
    >>> autoencoder = AutoencoderTransformer(3, max_iter=2, random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), autoencoder).fit(X)
    >>> register_converters()
    >>> model = to_onnx(pipeline, X[:1])
    >>> from onnxruntime import InferenceSession
    >>> session = InferenceSession(model.SerializeToString())
    >>> session.run(None, {"X": X})[0].shape
    (200, 3)

    >>> from skae import VAETransformer
    >>> from skae.outliers import ReconstructionOutlierDetector
    >>> detector = ReconstructionOutlierDetector(VAETransformer(3, max_iter=0)).fit(X)
    >>> session = InferenceSession(to_onnx(detector, X[:1]).SerializeToString())
    >>> label, decision = session.run(["label", "scores"], {"X": X})
    >>> bool((label.ravel() == detector.predict(X)).all())
    True
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError(
            "ONNX needs skl2onnx: pip install 'skae[onnx]'", name="skl2onnx"
        ) from error
    for estimator in (AutoencoderTransformer, DenoisingAutoencoder, VAETransformer):
        update_registered_converter(
            estimator,
            f"Skae{estimator.__name__}",
            _declare_output,
            _convert,
            options={"method": [*METHODS]},
        )
    update_registered_converter(
        ReconstructionOutlierDetector,
        DETECTOR,
        _declare_scores,
        _convert_detector,
        parser=_parse_detector,
        options={"score_samples": [True, False]},
    )


# -- estimators


def _method(operator):
    """Return the kinds of the input and the output of the method to convert."""
    options = operator.scope_inst.get_options(operator.raw_operator, {})
    return METHODS[options.get("method") or "transform"]


def _declare_output(operator):
    """Declare the shape and the dtype of the output of `_convert` to skl2onnx."""
    from skl2onnx.common.data_types import guess_tensor_type

    model, declared = operator.raw_operator, operator.inputs[0].type
    given, wanted = _method(operator)
    shapes = _checked_shapes(model, given, declared)
    operator.outputs[0].type = guess_tensor_type(declared)
    operator.outputs[0].type.shape = [declared.shape[0], *shapes[wanted]]


def _checked_shapes(model, given, declared):
    """Return the shapes of rows and of codes, one of which the declared input must have."""
    check_is_fitted(model)
    if model.table_ is not None:
        raise ValueError(
            f"{type(model).__name__} was fitted to a mixed table, which has no ONNX model:"
            " encode X by a ColumnTransformer in a Pipeline, with the likelihood"
            " skae.likelihoods.from_transformer(transformer), and convert that."
        )
    row_shape = model._state.specification.row_shape
    shapes = {"rows": row_shape, "codes": (model.n_components_,)}
    if tuple(declared.shape[1:]) != shapes[given]:
        raise ValueError(
            f"{type(model).__name__} must be given {given} of shape"
            f" {(None, *shapes[given])}. Got an input of shape {tuple(declared.shape)}."
        )
    return shapes


def _convert(scope, operator, container):
    """Write the nodes of a fitted estimator into an skl2onnx model."""
    from skae.onnx._model import computed

    nodes, x = _started(scope, operator, container)
    y = computed(nodes, operator.raw_operator._state, *_method(operator), x)
    _write(scope, operator, container, nodes, [y])


def _started(scope, operator, container):
    """Return nodes that compute in the dtype of the declared input, and the input."""
    from skl2onnx.common.data_types import DoubleTensorType

    from skae.onnx._nodes import Nodes, Value

    if container.target_opset < OLDEST_OPSET:
        raise ValueError(
            f"target_opset must be at least {OLDEST_OPSET}. Got {container.target_opset}."
        )
    before = operator.inputs[0]
    dtype = "float64" if isinstance(before.type, DoubleTensorType) else "float32"
    nodes = Nodes(dtype, scope.get_unique_variable_name)
    return nodes, nodes.cast(Value(before.full_name), dtype)


def _write(scope, operator, container, nodes, outputs):
    """Write the nodes that the outputs need into an skl2onnx model."""
    written, constants = nodes.needed(*(y.name for y in outputs))
    for one in constants:
        container.add_initializer(one.name, None, None, one)
    for kind, inputs, names, attributes in written:
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, inputs, names, name=name, **attributes)
    for y, after in zip(outputs, operator.outputs, strict=True):
        container.add_node("Identity", [y.name], [after.full_name])


# -- the outlier detector


def _parse_detector(scope, model, inputs, custom_parsers=None):
    """Name the outputs of a detector, as skl2onnx does those of an IsolationForest."""
    from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type

    operator = scope.declare_local_operator(DETECTOR, model)
    operator.inputs = inputs
    kinds = {"label": Int64TensorType(), "scores": guess_tensor_type(inputs[0].type)}
    if scope.get_options(model, {"score_samples": False})["score_samples"]:
        kinds["score_samples"] = guess_tensor_type(inputs[0].type)
    for name, kind in kinds.items():
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs


def _declare_scores(operator):
    """Declare the shapes and the dtypes of the outputs of `_convert_detector`."""
    detector, declared = operator.raw_operator, operator.inputs[0].type
    check_is_fitted(detector)
    model = detector.estimator_
    if not isinstance(model, BaseAutoencoder):
        raise ValueError(
            "ONNX needs an estimator of skae in the detector. Got"
            f" {model!r}. Put transformers before the detector, in a Pipeline;"
            " AutoencoderTransformer(max_iter=0) is PCA."
        )
    scorer, objective = detector._scorer, model._state.specification.objective
    if scorer.robust is None and (
        objective.has_posterior or not objective.is_squared_error
    ):
        raise ValueError(
            "ONNX needs score_by='robust', or a detector around an autoencoder with the"
            f" squared error. Got score_by='model' and {model!r}."
        )
    _checked_shapes(model, "rows", declared)
    for output in operator.outputs:
        output.type.shape = [declared.shape[0], 1]


def _convert_detector(scope, operator, container):
    """Write the nodes of a fitted detector into an skl2onnx model."""
    from skae.onnx._scores import scored

    nodes, x = _started(scope, operator, container)
    detector, double = operator.raw_operator, nodes.of("float64")
    scores = scored(nodes, detector._scorer, x)
    decision = double("Sub", scores, float(detector.offset_))
    decision, scores = (nodes.cast(one, nodes.dtype) for one in (decision, scores))
    # NaN, of rows that score_samples refuses, is no inlier
    inlier = nodes("GreaterOrEqual", decision, 0.0, is_float=False)
    label = nodes("Where", inlier, np.int64(1), np.int64(-1), is_float=False)
    outputs = [label, decision, scores]
    _write(scope, operator, container, nodes, outputs[: len(operator.outputs)])
