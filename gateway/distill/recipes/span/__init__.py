"""The recipe `span`: a tagger for answers that are cut from their inputs."""

from gateway.distill.recipes.span.recipe import Config, create

__all__ = ["Config", "create"]
