"""Bounds: what a network can be made to output over a box of inputs."""

from advwrap.bounds.box import Box, box_around
from advwrap.bounds.critic import ValueBounds
from advwrap.bounds.network import IntervalNetwork, interval_bounds
from advwrap.bounds.policy import ActionBounds

__all__ = ["ActionBounds", "Box", "IntervalNetwork", "ValueBounds", "box_around", "interval_bounds"]
