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


def decoder_beside_rows(graph, coordinates):
    """Build the Keras model of `BaseFitted.reconstructed`.

    Parameters
    ----------
    graph : Graph
    coordinates : Coordinates

    Returns
    -------
    decoder : keras.Model
        From codes, standardised flat rows with 0 for missing values, and 1 or 0 for each
        value that is there or missing. It computes flat rows in the units of X, on the
        scale of the rows that they are compared with.
    """
    specification, dtype = graph.specification, graph.encoder.input.dtype
    likelihood, flat = specification.objective.likelihood, (specification.n_features,)
    mean, scale = coordinates.mean, coordinates.scale
    with building(dtype, 0) as keras:
        from skae.networks._layers import rotated, unstandardized

        code = keras.Input(graph.decoder.input_shape[1:], dtype=dtype, name="code")
        rows = keras.Input(flat, dtype=dtype, name="rows")
        present = keras.Input(flat, dtype=dtype, name="present")
        y = code
        if specification.rotates:
            y = rotated(y, coordinates.inverse, coordinates.offset, name="rotate_back")
        y = likelihood.expectation(rows, graph.decoder(y), present)
        y = unstandardized(y, mean, scale * coordinates.unit)
        return keras.Model([code, rows, present], y, name="decoder_beside_rows")
