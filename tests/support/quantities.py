"""What a probe saw, by the names of its quantities."""

from descentlab.probes import AbstractProbe


def by_quantity(probe: AbstractProbe, values) -> dict:
    """The numbers of a probe that has one axis, its quantities."""
    (axis,) = probe.axes(None)
    assert axis.name == "quantity"
    return dict(zip(axis.labels, values, strict=True))
