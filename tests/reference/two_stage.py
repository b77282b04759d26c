"""Two-stage classification written out, image by image, in float64."""

import math


def probabilities(values):
    """Softmax of one row."""
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    return [power / sum(powers) for power in powers]


def soft(group_logits, class_logits, group_of):
    """p(y|x) = Σ_g p(g|x) p(y|g, x), where class_logits has the logits of each group's classes, in label order."""
    of_groups = probabilities(group_logits)
    answer = []
    for label, own in enumerate(group_of):
        total = 0.0
        for group, share in enumerate(of_groups):
            members = [other for other, its in enumerate(group_of) if its == group]
            within = probabilities(class_logits[group])[members.index(label)] if own == group else 0.0
            total += share * within
        answer.append(total)
    return answer


def hard(group_logits, class_logits, group_of):
    """The classes of the most probable group, the others with probability 0."""
    best = group_logits.index(max(group_logits))
    members = [label for label, own in enumerate(group_of) if own == best]
    within = probabilities(class_logits[best])
    return [within[members.index(label)] if label in members else 0.0 for label in range(len(group_of))]


def restricted(soft_label, members):
    """A soft label's probabilities of these classes alone, made to sum to one."""
    of_all = probabilities(soft_label)
    total = sum(of_all[label] for label in members)
    return [of_all[label] / total for label in members]


def merged(soft_label, groups):
    """A soft label's probability of each group of classes."""
    of_all = probabilities(soft_label)
    return [sum(of_all[label] for label in members) for members in groups]
