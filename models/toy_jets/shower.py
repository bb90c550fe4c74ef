"""A toy of jets at a hadron collider: five kinds of one to three prongs that radiate, and what is measured of them.

It has the physics that tells the kinds apart, to leading order, and nothing else: masses of W, Z and top, two-body
decays that are isotropic at rest, and soft gluons spread evenly over the logarithms of energy and angle, 9/4 times as
many from a gluon as from a quark (Ellis, Stirling and Webber, QCD and Collider Physics, 1996, sections 5.1 and 6.1).
No hadrons, no pile-up, no detector but a resolution. Accuracy on these says nothing about real jets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

KINDS = ("gluon", "light quark", "W", "Z", "top")
FEATURES = (
    "log of the mass, GeV",
    "log of the groomed mass, GeV",
    "multiplicity",
    "sum of z ln z",
    "sum of z^2",
    "girth",
    "second moment",
    *(f"log of e2, beta {beta}" for beta in (0.5, 1, 2)),
    *(f"log of e3, beta {beta}" for beta in (1, 2)),
    *(f"share of momentum, {which}" for which in ("largest", "second", "third")),
    "distance of the two largest",
)
"""What is measured of a jet, in this order; z are shares of its momentum."""

MOMENTUM, RADIUS = 1000.0, 0.8
"""Transverse momentum of every jet in GeV, and its radius."""

W_MASS, Z_MASS, TOP_MASS = 80.4, 91.2, 172.5
COUPLING = 0.24
SOFTEST, NARROWEST = 0.002, 0.01
"""Smallest share of momentum, and smallest angle, of a gluon that is radiated."""

MOST = 64
"""Particles that are kept of a jet, the first ones."""

GROOMED = 0.05
"""Share of momentum below which a particle does not count for the groomed mass."""


def jets(kind: int, count: int, random: np.random.Generator) -> Array:
    """Features, (count, 16), of jets of one kind, as they are measured."""
    return np.stack([_features(*_seen(*_jet(kind, random), random)) for _ in range(count)])


def _jet(kind: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Shares of momentum (n,) and positions (n, 2) of the particles of one jet."""
    axis = np.zeros(2)
    if kind < 2:
        prongs = [(1.0, axis, RADIUS, kind == 0)]
    elif kind < 4:
        prongs = _decay(1.0, axis, (W_MASS, Z_MASS)[kind - 2], 0.0, random)
    else:
        bottom, heavy = _decay(1.0, axis, TOP_MASS, W_MASS, random)
        prongs = [bottom, *_decay(heavy[0], heavy[1], W_MASS, 0.0, random)]
    parts = [_radiate(*prong, random) for prong in prongs]
    return np.concatenate([shares for shares, _ in parts]), np.concatenate([places for _, places in parts])


def _decay(
    share: float, place: Array, mass: float, heavy: float, random: np.random.Generator
) -> list[tuple[float, Array, float, bool]]:
    """Two prongs of quarks: a massless one first, and one of mass `heavy`.

    At rest the first has the energy (m^2 - h^2) / 2m in any direction, so that of a fast parent it takes the share
    (1 - h^2/m^2)(1 + cos)/2; and m^2 - h^2/(1 - s) = s (1 - s) (p R)^2 gives the angle R between them.
    """
    ratio = (heavy / mass) ** 2
    first = float((1 - ratio) * np.clip(random.uniform(), 0.02, 0.98))
    apart = np.sqrt((mass**2 - heavy**2 / (1 - first)) / (first * (1 - first))) / (share * MOMENTUM)
    turn = random.uniform(0, 2 * np.pi)
    line = apart * np.array([np.cos(turn), np.sin(turn)])
    wide = float(min(apart, RADIUS))
    return [
        (share * first, place + (1 - first) * line, wide, False),
        (share * (1 - first), place - first * line, wide, False),
    ]


def _radiate(
    share: float, place: Array, wide: float, is_gluon: bool, random: np.random.Generator
) -> tuple[Array, Array]:
    """A prong and the soft gluons that it radiates: as many as a Poisson law gives for the area that they may fill."""
    colour = 3 if is_gluon else 4 / 3
    narrow = min(NARROWEST, wide / 2)
    area = np.log(0.5 / SOFTEST) * np.log(wide / narrow)
    count = random.poisson(2 * COUPLING * colour / np.pi * area)
    taken = SOFTEST * (0.5 / SOFTEST) ** random.uniform(size=count)
    angle = narrow * (wide / narrow) ** random.uniform(size=count)
    turn = random.uniform(0, 2 * np.pi, count)
    kept = np.cumprod(np.concatenate([[1.0], 1 - taken]))
    shares = share * np.concatenate([[kept[-1]], taken * kept[:-1]])
    away = angle[:, np.newaxis] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return shares, np.concatenate([place[np.newaxis], place + away])


def _seen(shares: Array, places: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """The particles within the jet as a detector sees them: 8 % of momentum, .01 of position; shares add up to 1."""
    momenta = shares * np.maximum(1 + 0.08 * random.normal(size=shares.shape), 0.1)
    seen = places + 0.01 * random.normal(size=places.shape)
    inside = np.hypot(*seen.T) < RADIUS
    if not inside.any():
        inside[:] = True
    momenta, seen = momenta[inside][:MOST], seen[inside][:MOST]
    return momenta / momenta.sum(), seen


def _features(z: Array, places: Array) -> Array:
    """What is measured of one jet, as FEATURES lists it; energy correlations as in Larkoski et al., arXiv:1305.0007."""
    apart = np.hypot(*(places[:, np.newaxis] - places).transpose(2, 0, 1))
    centre = np.hypot(*(places - z @ places).T)

    def mass(weights: Array) -> float:
        return float(MOMENTUM * np.sqrt(weights @ apart**2 @ weights / 2))

    def chain(beta: float) -> Array:
        return z[:, np.newaxis] * apart**beta

    pairs = [np.log(np.sum(z @ chain(beta).T) / 2 + 1e-5) for beta in (0.5, 1, 2)]
    triples = [np.log(np.trace(np.linalg.matrix_power(chain(beta), 3)) / 6 + 1e-9) for beta in (1, 2)]
    order = np.argsort(-z)
    largest = np.concatenate([z[order], np.zeros(3)])[:3]
    distance = apart[order[0], order[min(1, len(z) - 1)]]
    return np.array(
        [
            np.log(mass(z) + 1),
            np.log(mass(np.where(z > GROOMED, z, 0)) + 1),
            len(z),
            z @ np.log(z),
            z @ z,
            z @ centre,
            z @ centre**2,
            *pairs,
            *triples,
            *largest,
            distance,
        ]
    )
