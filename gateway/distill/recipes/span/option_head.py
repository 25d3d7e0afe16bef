"""Fitting the linear head that judges a tagger's options beside its network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.distill.linear_fit import fit_classifier, read_columns
from gateway.distill.recipes.span.dataset import Target
from gateway.errors import SpecialistError
from gateway.specialists.base import Encoder
from gateway.specialists.linear.features import Features, build_features, feature_width
from gateway.specialists.runtimes.tagger.grammar import Grammar
from gateway.specialists.runtimes.tagger.option_head import OptionHead

_UNSEEN = -10.0
"""The logit of an option that no row teaches: the network has to be very sure of it."""


def fit_option_head(
    grammar: Grammar, texts: Sequence[str], targets: Sequence[Target], encoder: Encoder, seed: int
) -> OptionHead | None:
    """Return a head taught the options of `targets`, (n,) as `texts`; None where the rows decide nothing."""
    seen: list[Features] = []
    options: list[list[int]] = []
    for text, target in zip(texts, targets, strict=True):
        try:
            vector = np.asarray(encoder.encode(text), np.float32)
        except SpecialistError:
            continue
        seen.append(build_features(text, vector))
        options.append(target.options)
    coefficients = np.zeros((feature_width(encoder.dimension), grammar.options), np.float32)
    intercept = np.full(grammar.options, _UNSEEN, np.float32)
    at = 0
    for number, field in enumerate(field for field in grammar.fields if field.options):
        chosen = np.array([row[number] for row in options])
        taught = np.unique(chosen)
        if len(taught) < 2:
            return None
        model = fit_classifier(seen, chosen, seed)
        columns = at + taught
        coefficients[:, columns], intercept[columns] = read_columns(model)
        at += field.options
    return OptionHead(coefficients=coefficients, intercept=intercept)
