"""The recipe `head`: a logistic regression over the features of a text, trained in seconds."""

from gateway.distill.recipes.head.recipe import Config, HeadRecipe, create

__all__ = ["Config", "HeadRecipe", "create"]
