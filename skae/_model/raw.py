"""Keras models on raw rows, in the units and the shape of the user's X."""

from dataclasses import dataclass

from skae._utils.keras import building


@dataclass(frozen=True)
class RawModels:
    """Keras models on raw rows, which include scaling and the rotation of the code."""

    encoder: object
    decoder: object
    autoencoder: object


def raw(graph, coordinates):
    """Build the Keras models of a graph on raw rows, which share its variables.

    Parameters
    ----------
    graph : Graph
    coordinates : Coordinates

    Returns
    -------
    models : RawModels
    """
    specification = graph.specification
    objective, flat = specification.objective, (specification.n_features,)
    dtype, rotates = graph.encoder.input.dtype, specification.rotates
    mean, scale = coordinates.mean, coordinates.scale
    with building(dtype, 0) as keras:
        from skae.networks._layers import rotated, standardized, unstandardized

        layers, folded = keras.layers, specification.row_shape != flat
        rows = keras.Input(specification.row_shape, dtype=dtype, name="rows")
        x = layers.Reshape(flat, name="flatten")(rows) if folded else rows
        z = objective.point(graph.encoder(standardized(x, mean, scale)))
        if rotates:
            shift = -coordinates.offset @ coordinates.rotation
            z = rotated(z, coordinates.rotation, shift, name="rotate")
        encoder = keras.Model(rows, z, name="encoder")

        code = keras.Input(z.shape[1:], dtype=dtype, name="code")
        y = code
        if rotates:
            y = rotated(y, coordinates.inverse, coordinates.offset, name="rotate_back")
        activation = objective.likelihood.output_layer()
        y = unstandardized(activation(graph.decoder(y)), mean, scale * coordinates.unit)
        if folded:
            y = layers.Reshape(specification.row_shape, name="unflatten")(y)
        decoder = keras.Model(code, y, name="decoder")
        rows = keras.Input(specification.row_shape, dtype=dtype, name="rows")
        autoencoder = keras.Model(rows, decoder(encoder(rows)), name="autoencoder")
    return RawModels(encoder, decoder, autoencoder)
