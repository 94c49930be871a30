"""Whether the teacher's softened targets say anything: a teacher that is unsure, at a high temperature, does not."""

import numpy as np

from pipeline.cache.format.columns import LOGITS
from pipeline.data.training_set import TrainingSet
from pipeline.distillation.objective import Objective

SAMPLE = 4096  # examples whose targets are looked at
# Share of the largest entropy, log C, from which targets are near chance. A teacher of banking77 that was stopped early
# (77 classes, largest probability 0.20, 0.025 at T 5) has 0.995 there; one that is sure (0.85 and more) 0.98. Two
# classes have it at 0.56 to 0.44.
NEAR_CHANCE = 0.99


def unsure_teacher(objective: Objective, examples: TrainingSet) -> str | None:
    """Return in words that the targets at the run's temperature are near chance, None where they are not.

    They are those of evenly spaced training examples.
    """
    temperature = dict(objective.numbers).get("temperature")
    if temperature is None or LOGITS not in objective.columns:
        return None
    ids = examples.ids[:: -(-len(examples.ids) // SAMPLE)]
    targets = objective.kind.softened(examples.split.gather(LOGITS, ids), temperature)
    if targets is None:
        return None
    classes = targets.shape[1]
    entropy = float(-(targets * np.log(np.maximum(targets, 1e-300))).sum(1).mean() / np.log(classes))
    if entropy < NEAR_CHANCE:
        return None
    way_on = "Try a lower --temperature" if temperature > 1 else "Train the teacher for longer"
    return (
        f"the teacher is unsure: at --temperature {temperature:g} the entropy of its targets is {entropy:.1%} of that "
        f"of chance, and their largest probability is {targets.max(1).mean():.3f} in the mean, where {1 / classes:.3f} "
        f"is chance. {way_on}"
    )
