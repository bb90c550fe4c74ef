"""The loss of each part alone at each width, by running the network with it rounded."""

from __future__ import annotations

from collections.abc import Mapping

from bitsmith.passes.sensitivity.felt import Arrays, Felt
from bitsmith.passes.sensitivity.study import Study, Table, on_grid, samples_on_grid

Rounded = Mapping[str, Mapping[float, Arrays]]
"""By weight and bits: the constants that then stand in its layer."""


def nearest(study: Study) -> Rounded:
    """Each weight rounded to the nearest."""
    return {
        part.name: {bits: {part.name: on_grid(part.array, chosen)} for bits, chosen in part.formats.items()}
        for part in study.weights
    }


def weight_losses(study: Study, rounded: Rounded) -> Table:
    """KL(float || one weight at b bits) of the outputs (Cai et al. 2020, arXiv:2001.00281, equation 2)."""
    table: Table = {part.name: dict.fromkeys(rounded[part.name], 0.0) for part in study.weights}
    seen = 0
    for network in study.networks():
        felt = Felt(network, study.divergence)
        for part in study.weights:
            study.progress("sensitivity of weights", seen, len(study.data) * len(study.weights))
            seen += network.samples
            for bits, constants in rounded[part.name].items():
                table[part.name][bits] += study.share(network) * felt.constants(part.layer, constants)
        del felt, network
    return table


def activation_losses(study: Study) -> Table:
    """The same of one group of activations at b bits, each rounded as it is in float."""
    table: Table = {part.name: dict.fromkeys(part.formats, 0.0) for part in study.activations}
    seen = 0
    for network in study.networks():
        felt = Felt(network, study.divergence)
        for part in study.activations:
            study.progress("sensitivity of activations", seen, len(study.data) * len(study.activations))
            seen += network.samples
            for bits, chosen in part.formats.items():
                changed = {name: samples_on_grid(network.activations[name], chosen) for name in part.computed}
                constants = {name: on_grid(array, chosen) for name, array in part.constants.items()}
                table[part.name][bits] += study.share(network) * felt.activations(changed, constants)
        del felt, network
    return table
